// See schedule.h.
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace um {
namespace {

constexpr double kLongestWarmup = 0.1;  ///< share of a phase that time bounds

}  // namespace

double Phase::warmed(int64_t step, double elapsed) const {
  if (warmup == 0) return 1;
  const double by_steps = static_cast<double>(step - begin + 1) / static_cast<double>(warmup);
  const double by_time = seconds > 0 ? elapsed / (kLongestWarmup * seconds) : 0;
  return std::min(1.0, std::max(by_steps, by_time));
}

double Phase::decayed(double done, double length) const {
  if (schedule == "constant") return lr;
  const double progress = done < length ? done / length : 1.0;
  const double left =
      schedule == "cosine" ? 0.5 * (1.0 + std::cos(std::numbers::pi * progress)) : 1.0 - progress;
  return final_lr + (lr - final_lr) * left;
}

double Phase::rate(int64_t step, double elapsed, double warmup_end) const {
  if (seconds > 0) {
    const double warm = warmed(step, elapsed);
    return warm < 1 ? lr * warm : decayed(elapsed - warmup_end, seconds - warmup_end);
  }
  const int64_t done = step - begin;
  if (done < warmup) return lr * static_cast<double>(done + 1) / static_cast<double>(warmup);
  const int64_t length = std::max<int64_t>(end - begin - warmup, 1);
  return decayed(static_cast<double>(done - warmup), static_cast<double>(length));
}

std::vector<Phase> plan_phases(const TrainOptions& options, int64_t main_steps) {
  std::vector<Phase> phases{{.begin = 0,
                             .end = main_steps,
                             .seconds = options.minutes * 60,
                             .batch = options.batch,
                             .seq_len = options.seq_len,
                             .lr = options.lr,
                             .final_lr = options.final_lr,
                             .schedule = options.schedule,
                             .warmup = std::min(options.warmup, main_steps),
                             .rope_theta = options.rope_theta}};
  for (const PhaseOptions& phase : options.phases) {
    const Phase& last = phases.back();
    const double lr = phase.lr > 0 ? phase.lr : options.final_lr;
    phases.push_back({.begin = last.end,
                      .end = last.end + std::max<int64_t>(phase.steps, 1),
                      .seconds = 0,
                      .batch = phase.batch > 0 ? phase.batch : options.batch,
                      .seq_len = phase.seq_len > 0 ? phase.seq_len : options.seq_len,
                      .lr = lr,
                      .final_lr = phase.final_lr > 0 ? phase.final_lr : lr,
                      .schedule = phase.schedule,
                      .warmup = 0,
                      .rope_theta = phase.rope_theta > 0 ? phase.rope_theta : last.rope_theta});
  }
  return phases;
}

const Phase& phase_at(const std::vector<Phase>& phases, int64_t step) {
  for (const Phase& phase : phases)
    if (step < phase.end) return phase;
  return phases.back();
}

}  // namespace um
