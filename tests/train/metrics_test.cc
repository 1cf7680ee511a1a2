// Metrics: exact round trips, torn and hostile lines, truncation on resume, the spike rule, and
// expert-load summaries.
#include "train/metrics.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <limits>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class MetricsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ = fs::temp_directory_path() / fmt::format("um_metrics_{}", ::getpid());
    fs::remove_all(run_);
    fs::create_directories(run_);
  }
  void TearDown() override { fs::remove_all(run_); }

  std::vector<int64_t> steps() const {
    std::vector<int64_t> list;
    for_each_line(run_ / "metrics.jsonl", [&](std::string_view line) {
      const MetricsLine parsed = parse_metrics_line(line);
      list.push_back(parsed.step         ? parsed.step->step
                     : parsed.validation ? -parsed.validation->step
                                         : 999);
    });
    return list;
  }

  fs::path run_;
};

StepMetrics full_step() {
  StepMetrics m;
  m.step = 7;
  m.time_s = 1.25;
  m.tokens = 123456789012345;
  m.loss = 4.1 / 3;
  m.val_loss = 1.5;
  m.mtp_loss = {2.25, 1.0 / 7};
  m.balance_loss = 1.0625;
  m.z_loss = 0.1;
  m.grad_norm = 0.3;
  m.spike = m.skipped = true;
  m.lr = 3e-4;
  m.tokens_per_s = 5000.5;
  m.model_flops_per_s = 1.5e11;
  m.activation_rms = {0.5, 1.0 / 3};
  const std::vector<int64_t> counts = {1, 2, 0, 7};
  m.moe = {expert_load(1, counts), expert_load(2, counts)};
  return m;
}

TEST(ExpertLoadTest, UniformOneHotAndEmpty) {
  const std::vector<int64_t> uniform(16, 5);
  ExpertLoad load = expert_load(3, uniform);
  EXPECT_EQ(load.layer, 3);
  EXPECT_DOUBLE_EQ(load.max_over_mean, 1);
  EXPECT_NEAR(load.entropy, 1, 1e-12);
  EXPECT_EQ(load.dead, 0);
  EXPECT_FLOAT_EQ(load.fractions[4], 1.f / 16);

  const std::vector<int64_t> one = {0, 0, 9, 0};
  load = expert_load(0, one);
  EXPECT_DOUBLE_EQ(load.max_over_mean, 4);
  EXPECT_DOUBLE_EQ(load.entropy, 0);
  EXPECT_EQ(load.dead, 3);

  const std::vector<int64_t> none = {0, 0};
  load = expert_load(0, none);
  EXPECT_TRUE(std::isnan(load.max_over_mean));
  EXPECT_EQ(load.dead, 2);
  EXPECT_THROW(expert_load(0, std::vector<int64_t>{1, -1}), Error);
}

TEST_F(MetricsTest, StepRoundTripsExactly) {
  const StepMetrics m = full_step();
  const MetricsLine line = parse_metrics_line(to_json_line(m));
  ASSERT_TRUE(line.step);
  EXPECT_EQ(to_json_line(*line.step), to_json_line(m));
  EXPECT_EQ(line.step->loss, m.loss);
  EXPECT_EQ(line.step->tokens, m.tokens);
  EXPECT_EQ(line.step->mtp_loss, m.mtp_loss);
  EXPECT_EQ(line.step->activation_rms, m.activation_rms);
  ASSERT_EQ(line.step->moe.size(), 2u);
  EXPECT_EQ(line.step->moe[1].layer, 2);
  EXPECT_EQ(line.step->moe[1].entropy, m.moe[1].entropy);
  EXPECT_EQ(line.step->moe[1].dead, 1);
  EXPECT_EQ(line.step->moe[1].fractions, m.moe[1].fractions);
  EXPECT_TRUE(line.step->spike && line.step->skipped);
}

TEST_F(MetricsTest, NotFiniteIsNullAndReadsAsNan) {
  StepMetrics m;
  m.step = 1;
  m.loss = NAN;
  m.grad_norm = std::numeric_limits<double>::infinity();
  const std::string text = to_json_line(m);
  EXPECT_NE(text.find("\"loss\":null"), std::string::npos) << text;
  const MetricsLine line = parse_metrics_line(text);
  ASSERT_TRUE(line.step);
  EXPECT_TRUE(std::isnan(line.step->loss));
  EXPECT_TRUE(std::isnan(line.step->grad_norm));
  EXPECT_FALSE(line.step->val_loss);
}

TEST_F(MetricsTest, HostileLinesAreNotSteps) {
  for (const char* text :
       {"", "{", "null", "[1]", "{}", "{\"step\":\"1\"}", "{\"step\":-1}", "{\"step\":1.5}",
        "{\"step\":1e999}", "{\"step\":1", "\xff\xfe", "{\"step\":99999999999999999999}"}) {
    const MetricsLine line = parse_metrics_line(text);
    EXPECT_FALSE(line.step || line.validation) << text;
    EXPECT_FALSE(parse_sample_line(text)) << text;
  }
  const MetricsLine odd = parse_metrics_line(
      R"({"step":1,"loss":"x","mtp_loss":3,"moe":[1,{"load":["a"],"dead":-5}],"tokens":1e30})");
  ASSERT_TRUE(odd.step);
  EXPECT_TRUE(std::isnan(odd.step->loss));
  ASSERT_EQ(odd.step->moe.size(), 1u);
  EXPECT_EQ(odd.step->moe[0].dead, 0);
}

TEST_F(MetricsTest, SampleTextOfAnyBytesIsWritten) {
  {
    MetricsWriter writer(run_);
    writer.write(Sample{3, "Once", "cut \xc3 \n\"</script>"});
  }
  int count = 0;
  for_each_line(run_ / "samples.jsonl", [&](std::string_view line) {
    const auto sample = parse_sample_line(line);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->step, 3);
    EXPECT_NE(sample->text.find("\n\"</script>"), std::string::npos);
    ++count;
  });
  EXPECT_EQ(count, 1);
}

TEST_F(MetricsTest, ResumeDropsLaterAndTornLines) {
  {
    MetricsWriter writer(run_);
    for (int64_t step = 1; step <= 5; ++step) {
      StepMetrics m;
      m.step = step;
      m.loss = 1.0 / static_cast<double>(step);
      writer.write(m);
      if (step % 2 == 0)
        writer.write(ValidationPoint{.step = step, .tokens = 10 * step, .loss = 2.5});
      writer.write(Sample{step, "p", "t"});
    }
    writer.sync();
  }
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, -2, 3, 4, -4, 5}));
  std::ofstream(run_ / "metrics.jsonl", std::ios::app) << "{\"step\":6,\"lo";
  {
    MetricsWriter writer(run_, 3);
    StepMetrics m;
    m.step = 4;
    writer.write(m);
  }
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, -2, 3, 4}));
  int samples = 0;
  for_each_line(run_ / "samples.jsonl", [&](std::string_view) { ++samples; });
  EXPECT_EQ(samples, 3);
  // A fresh start empties both files.
  { MetricsWriter writer(run_); }
  EXPECT_TRUE(steps().empty());
}

TEST_F(MetricsTest, ResumingAtTheLastStepMendsATornLine) {
  write_file_atomic(run_ / "metrics.jsonl", "{\"step\":1}\n{\"step\":2,\"loss\":3.");
  MetricsWriter writer(run_, 2);
  StepMetrics m;
  m.step = 3;
  writer.write(m);
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 3}));
}

TEST_F(MetricsTest, UnwritableDirectoryIsAnError) {
  EXPECT_THROW(MetricsWriter(run_ / "missing"), Error);
}

TEST(SpikeDetectorTest, RuleNeedsHistoryAndComparesWithTheMedianBefore) {
  SpikeDetector detector;
  for (size_t i = 0; i < SpikeDetector::kMinimum; ++i)
    EXPECT_FALSE(detector.observe(i == 0 ? 100.0 : 1.0)) << i;
  EXPECT_FALSE(detector.observe(2.0));  // exactly twice is not more than twice
  EXPECT_TRUE(detector.observe(2.01));
  EXPECT_TRUE(detector.observe(NAN));
  EXPECT_FALSE(detector.observe(1.0));
  EXPECT_EQ(detector.spikes(), 2);
  EXPECT_EQ(detector.steps(), static_cast<int64_t>(SpikeDetector::kMinimum) + 4);
  EXPECT_NEAR(detector.rate(), 2.0 / 14, 1e-12);
}

TEST(SpikeDetectorTest, WindowForgetsAndEvenMedianIsTheMean) {
  SpikeDetector detector(10);
  for (int i = 0; i < 10; ++i) detector.observe(1.0);
  for (int i = 0; i < 5; ++i) detector.observe(4.0);  // the window is now half 1, half 4
  EXPECT_FALSE(detector.observe(4.9));                // median 2.5, limit 5
  SpikeDetector other(10);
  for (int i = 0; i < 10; ++i) other.observe(1.0);
  for (int i = 0; i < 5; ++i) other.observe(4.0);
  EXPECT_TRUE(other.observe(5.1));
}

TEST_F(MetricsTest, ReplayedDetectorJudgesAsAnUnbrokenOne) {
  const auto norm = [](int64_t step) {
    return 1.0 + 0.3 * std::sin(static_cast<double>(step)) + (step % 37 == 0 ? 3 : 0);
  };
  SpikeDetector whole;
  {
    MetricsWriter writer(run_);
    for (int64_t step = 1; step <= 150; ++step) {
      StepMetrics m;
      m.step = step;
      m.grad_norm = norm(step);
      whole.observe(m.grad_norm);
      writer.write(m);
    }
  }
  SpikeDetector resumed;
  resumed.replay(run_);
  for (int64_t step = 151; step <= 300; ++step)
    EXPECT_EQ(resumed.observe(norm(step)), whole.observe(norm(step))) << step;
  EXPECT_EQ(resumed.spikes(), whole.spikes());
  EXPECT_GT(whole.spikes(), 4);
}

/// A file that cannot be read is not an empty one: what it holds would be cut away.
TEST(MetricsFileTest, WhatCannotBeReadIsAnError) {
  EXPECT_THROW(for_each_line(std::filesystem::temp_directory_path(), [](std::string_view) {}),
               Error);
}

}  // namespace
}  // namespace um
