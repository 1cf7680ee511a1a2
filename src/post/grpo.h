// Reinforcement learning with verifiable rewards: GRPO and its relatives (policy.h), on answers
// that the serving engine samples from the weights in training. docs/grpo.md
#pragma once

#include <filesystem>
#include <memory>

#include "post/rollouts.h"
#include "train/task.h"

namespace um {

/// Options of a run with what this wants where nobody says anything.
RunOptions grpo_options();

/// The most answers in a batch: what train.batch is for the check of memory.
int64_t answers_at_once(const RunOptions& options);

/// The task. Throws UsageError for options that have no meaning here. `rollouts` samples;
/// train.accumulate micro-batches share the answers of an update.
TrainingTask grpo(const RunOptions& options, std::shared_ptr<Rollouts> rollouts);

}  // namespace um
