// What a run trains on and for. The loop (trainer.h) is handed it and knows no more of either:
// pretraining is one task, what comes after it others.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/batch_source.h"
#include "train/objective.h"
#include "train/options.h"
#include "train/schedule.h"

namespace um {

/// A part of the held-out data, from its first batch.
struct HeldOut {
  std::string name = {};  ///< of its loss beside the others'; empty where there is one part only
  std::unique_ptr<BatchSource> source;
};

struct TrainingTask {
  /// The stream of phase `index` of the plan, at its beginning: endless, or at least as long as the
  /// phase. `state()["seed"]` is the first phase's plus `index`.
  std::function<std::unique_ptr<BatchSource>(const Phase& phase, size_t index)> stream;
  /// What validation goes over; none: no validation. May be empty.
  std::function<std::vector<HeldOut>(const Phase& phase)> held_out;
  std::shared_ptr<const Objective> objective;
  /// Told of the model before the first batch, and after every update of its weights; may be empty.
  std::function<void(const Model& model)> begin;
  std::function<void()> updated;
  /// What the last step is to record beside its losses: names and values. May be empty.
  std::function<std::vector<std::pair<std::string, double>>()> measures;
  /// Where a model without a tokenizer of its own gets one from.
  std::filesystem::path texts;
  /// What a checkpoint's texts say further than those it begins with (models/model_texts.h): gets
  /// the directory when the model and its texts are in it. May be empty.
  std::function<void(const std::filesystem::path& checkpoint)> finish_texts;
};

/// Next-token prediction on packed corpora, as `options` say. Wrong options of [data] are a
/// UsageError when the first stream is opened.
TrainingTask pretraining(const RunOptions& options);

}  // namespace um
