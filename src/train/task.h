// What a run trains on and for. The loop (trainer.h) is handed it and knows no more of either:
// pretraining is one task, what comes after it others.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "data/batch_source.h"
#include "train/objective.h"
#include "train/options.h"
#include "train/schedule.h"

namespace um {

struct TrainingTask {
  /// The stream of phase `index` of the plan, at its beginning: endless, or at least as long as the
  /// phase. `state()["seed"]` is the first phase's plus `index`.
  std::function<std::unique_ptr<BatchSource>(const Phase& phase, size_t index)> stream;
  /// The held-out batches that validation goes over, from the first; empty or null: no validation.
  std::function<std::unique_ptr<BatchSource>(const Phase& phase)> held_out;
  std::shared_ptr<const Objective> objective;
  /// Where a model without a tokenizer of its own gets one from.
  std::filesystem::path texts;
};

/// Next-token prediction on packed corpora, as `options` say. Wrong options of [data] are a
/// UsageError when the first stream is opened.
TrainingTask pretraining(const RunOptions& options);

}  // namespace um
