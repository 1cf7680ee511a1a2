// The plan of a run: phases in turn, and the learning rate at every step.
#include "train/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace um {
namespace {

TrainOptions options(const std::string& schedule) {
  TrainOptions train;
  train.lr = 1.0;
  train.final_lr = 0.1;
  train.schedule = schedule;
  train.warmup = 4;
  train.batch = 8;
  train.seq_len = 256;
  return train;
}

TEST(ScheduleTest, WarmUpEndsAtThePeak) {
  for (const char* schedule : {"cosine", "linear", "constant"}) {
    const Phase phase = plan_phases(options(schedule), 24)[0];
    EXPECT_DOUBLE_EQ(phase.rate(0), 0.25);
    EXPECT_DOUBLE_EQ(phase.rate(3), 1.0);
    EXPECT_DOUBLE_EQ(phase.rate(4), 1.0);
  }
}

TEST(ScheduleTest, WaysToTheFinalRate) {
  const Phase cosine = plan_phases(options("cosine"), 24)[0];
  const Phase linear = plan_phases(options("linear"), 24)[0];
  EXPECT_NEAR(cosine.rate(14), 0.55, 1e-12);  // half of the way down
  EXPECT_NEAR(linear.rate(14), 0.55, 1e-12);
  EXPECT_GT(cosine.rate(9), linear.rate(9));
  EXPECT_LT(cosine.rate(19), linear.rate(19));
  EXPECT_NEAR(cosine.rate(24), 0.1, 1e-12);
  EXPECT_NEAR(cosine.rate(1000), 0.1, 1e-12);  // and no further
  for (int64_t step = 5; step < 24; ++step) EXPECT_LT(cosine.rate(step), cosine.rate(step - 1));
  EXPECT_DOUBLE_EQ(plan_phases(options("constant"), 24)[0].rate(23), 1.0);
}

TEST(ScheduleTest, ShortRunsAndNoWarmUp) {
  TrainOptions train = options("cosine");
  train.warmup = 0;
  EXPECT_DOUBLE_EQ(plan_phases(train, 10)[0].rate(0), 1.0);
  train.warmup = 50;
  const Phase all_warm_up = plan_phases(train, 10)[0];
  EXPECT_DOUBLE_EQ(all_warm_up.rate(0), 0.1);
  EXPECT_DOUBLE_EQ(all_warm_up.rate(9), 1.0);
}

/// A phase of 100 s whose updates take `step_seconds(step)`; the rates of its updates.
std::vector<double> rates_by_time(const Phase& phase, double (*step_seconds)(int64_t)) {
  std::vector<double> rates;
  double elapsed = 0, warmup_end = -1;
  for (int64_t step = 0; elapsed < phase.seconds; ++step) {
    elapsed += step_seconds(step);
    if (warmup_end < 0 && phase.warmed(step, elapsed) >= 1) warmup_end = elapsed;
    rates.push_back(phase.rate(step, elapsed, std::max(warmup_end, 0.0)));
  }
  return rates;
}

TEST(ScheduleTest, TimeBoundsAPhaseWhateverTheSpeed) {
  for (const char* schedule : {"cosine", "linear"}) {
    TrainOptions train = options(schedule);
    train.minutes = 100.0 / 60;
    train.warmup = 50;
    const Phase phase = plan_phases(train, kOpenEnd)[0];
    // Even; ten times slower at first; the machine recovers and is faster at the end.
    for (const auto seconds :
         {+[](int64_t) { return 0.1; }, +[](int64_t step) { return step < 40 ? 1.0 : 0.1; },
          +[](int64_t step) { return step > 300 ? 0.03 : 0.2; }}) {
      const std::vector<double> rates = rates_by_time(phase, seconds);
      const auto peak = std::max_element(rates.begin(), rates.end());
      EXPECT_DOUBLE_EQ(*peak, 1.0);
      EXPECT_LE(peak - rates.begin(), 49);  // 50 updates or a tenth of the time
      EXPECT_NEAR(rates.back(), 0.1, 1e-3);
      for (auto rate = peak + 1; rate != rates.end(); ++rate) EXPECT_LE(rate[0], rate[-1]);
      for (size_t i = 1; i < rates.size(); ++i)
        EXPECT_LT(std::abs(rates[i] - rates[i - 1]), 0.11) << schedule << " step " << i;
    }
  }
}

TEST(ScheduleTest, WarmUpTakesATenthOfTheTimeAtMost) {
  TrainOptions train = options("constant");
  train.minutes = 1;
  train.warmup = 1000;
  const Phase phase = plan_phases(train, kOpenEnd)[0];
  EXPECT_DOUBLE_EQ(phase.rate(10, 3.0), 0.5);
  EXPECT_DOUBLE_EQ(phase.rate(20, 6.0), 1.0);
  EXPECT_DOUBLE_EQ(phase.rate(20, 40.0), 1.0);
}

TEST(ScheduleTest, PhasesFollowEachOtherAndInherit) {
  TrainOptions train = options("cosine");
  train.phases.push_back({.steps = 5, .seq_len = 1024, .rope_theta = 5e5});
  train.phases.push_back(
      {.steps = 3, .batch = 2, .lr = 0.05, .final_lr = 0.01, .schedule = "linear"});
  const std::vector<Phase> phases = plan_phases(train, 20);
  ASSERT_EQ(phases.size(), 3u);
  EXPECT_EQ(phases[1].begin, 20);
  EXPECT_EQ(phases[1].end, 25);
  EXPECT_EQ(phases[1].batch, 8);
  EXPECT_EQ(phases[1].seq_len, 1024);
  EXPECT_DOUBLE_EQ(phases[1].rate(20), 0.1);  // final_lr of the main phase
  EXPECT_DOUBLE_EQ(phases[1].rate(24), 0.1);
  EXPECT_EQ(phases[2].begin, 25);
  EXPECT_EQ(phases[2].seq_len, 256);     // [train]'s, not the phase's before
  EXPECT_EQ(phases[2].rope_theta, 5e5);  // once raised, the base stays
  EXPECT_DOUBLE_EQ(phases[2].rate(25), 0.05);
  EXPECT_NEAR(phases[2].rate(28), 0.01, 1e-12);

  EXPECT_EQ(&phase_at(phases, 0), &phases[0]);
  EXPECT_EQ(&phase_at(phases, 19), &phases[0]);
  EXPECT_EQ(&phase_at(phases, 20), &phases[1]);
  EXPECT_EQ(&phase_at(phases, 27), &phases[2]);
  EXPECT_EQ(&phase_at(phases, 28), &phases[2]);
}

}  // namespace
}  // namespace um
