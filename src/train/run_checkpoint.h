// Checkpoints of a run: RUN/checkpoints/step-N is a model directory in Hugging Face form with the
// training state beside it. A checkpoint appears complete or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "core/json.h"
#include "models/model.h"
#include "train/optimizer.h"

namespace um {

/// Where a run stands; everything else follows from run.toml.
struct RunState {
  int64_t step = 0;        ///< updates done
  int64_t tokens = 0;      ///< tokens seen
  double seconds = 0;      ///< training time so far
  int64_t main_steps = 0;  ///< length of the main phase; 0 while time bounds it and is not up
  double warmup_end = -1;  ///< with minutes: `seconds` when the warm-up ended, below 0: not yet
  int64_t skipped = 0;     ///< updates not applied because of NaN or Inf
  Json loader;             ///< BatchSource::state() of the present phase
};

/// Where a checkpoint's tokenizer and its like come from.
struct CheckpointTexts {
  std::filesystem::path from = {};  ///< a model or corpus; empty: there are none
  std::function<void(const std::filesystem::path&)> finish = {};  ///< TrainingTask::finish_texts
};

/// Writes RUN/checkpoints/step-N (weights, optimizer states, state, texts, digests of all) under a
/// temporary name and renames it; then removes all but the newest `keep`. Returns its path. Throws
/// Error if the disk is full or not writable; older checkpoints are untouched then.
std::filesystem::path save_checkpoint(const std::filesystem::path& run_dir, const Model& model,
                                      const Optimizer& optimizer, const RunState& state,
                                      const CheckpointTexts& texts, int64_t keep);

/// The newest checkpoint of a run that is complete, if there is one. Throws Error where that cannot
/// be read.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& run_dir);
/// Directories of steps that have lost their training state, the oldest first.
std::vector<std::filesystem::path> incomplete_checkpoints(const std::filesystem::path& run_dir);
/// Removes checkpoints that a killed run left half written or half removed.
void remove_unfinished_checkpoints(const std::filesystem::path& run_dir);

/// Restores weights (f32 masters) and optimizer states bit by bit, and returns the state. What
/// trains now but did not then has states of zeros; states of what is frozen are left. Throws
/// Error naming the file and the field or tensor that is missing or wrong. The files' digests are
/// the caller's to check (models/digests.h).
RunState load_checkpoint(const std::filesystem::path& checkpoint, Model& model,
                         Optimizer& optimizer);

}  // namespace um
