// The plan of a run: its phases in turn, and the learning rate at every step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/options.h"

namespace um {

/// A phase with nothing left to default. Steps count from 0 over the whole run.
struct Phase {
  int64_t begin = 0, end = 0;
  int64_t batch = 0, seq_len = 0;
  double lr = 0, final_lr = 0;
  std::string schedule;
  int64_t warmup = 0;
  double rope_theta = 0;  ///< 0: the model's

  /// Learning rate of the update that follows `step` finished ones: linear warm-up from lr/warmup
  /// to lr, then from lr to final_lr over the rest of the phase.
  double rate(int64_t step) const;
};

/// The main phase of `main_steps` updates, then the others.
std::vector<Phase> plan_phases(const TrainOptions& options, int64_t main_steps);

/// The phase that contains `step` (the last one for any step beyond).
const Phase& phase_at(const std::vector<Phase>& phases, int64_t step);

}  // namespace um
