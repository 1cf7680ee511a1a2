// How much memory training takes, known before it begins: two steps on a dry device, which makes
// the same allocations as a real one and computes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/config.h"
#include "train/objective.h"
#include "train/options.h"
#include "train/schedule.h"

namespace um {

/// Bytes on the device at the peak of a step.
struct TrainingMemory {
  double weights = 0, gradients = 0, optimizer = 0;
  double activations = 0;  ///< with the gradients of activations

  double total() const { return weights + gradients + optimizer + activations; }
  /// "1.30 GB: weights 30.1 MB, gradients …"
  std::string text() const;
};

/// What the phase with the largest batches takes. Throws Error with the numbers, and what to
/// change, unless this machine has as much.
TrainingMemory check_memory(const ModelConfig& config, const TrainOptions& options,
                            const std::vector<Phase>& phases, const Objective& objective);

}  // namespace um
