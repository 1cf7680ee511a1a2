// The plan of a run: its phases in turn, and the learning rate of every update.
//
// The main phase may be bounded by time (train.minutes) in place of steps. Its rate then follows
// the clock: a slow spell costs updates, but the rate goes on from where it was, reaches its final
// value when the time is up, and no speed has to be guessed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/options.h"

namespace um {

/// The end of a phase that time bounds.
inline constexpr int64_t kOpenEnd = int64_t{1} << 50;

/// A phase with nothing left to default. Steps count from 0 over the whole run.
struct Phase {
  int64_t begin = 0, end = 0;  ///< end: kOpenEnd while a phase that time bounds is running
  double seconds = 0;          ///< above 0: time bounds the phase, which is the first
  int64_t batch = 0, seq_len = 0;
  double lr = 0, final_lr = 0;
  std::string schedule;
  int64_t warmup = 0;
  double rope_theta = 0;  ///< 0: the model's

  /// How much of the warm-up is behind the update that follows `step` finished ones, at most 1. By
  /// time it takes a tenth of the phase at most, however many updates that are.
  double warmed(int64_t step, double elapsed) const;
  /// Learning rate of the update that follows `step` finished ones: linear warm-up to lr, then from
  /// lr to final_lr over the rest of the phase. By time also of the training time `elapsed` and of
  /// that at which the warm-up ended.
  double rate(int64_t step, double elapsed = 0, double warmup_end = 0) const;

 private:
  /// The rate after `done` of the `length` that follow the warm-up.
  double decayed(double done, double length) const;
};

/// The main phase of `main_steps` updates (kOpenEnd: not known yet), then the others.
std::vector<Phase> plan_phases(const TrainOptions& options, int64_t main_steps);

/// The phase that contains `step` (the last one for any step beyond).
const Phase& phase_at(const std::vector<Phase>& phases, int64_t step);

}  // namespace um
