// Training with bf16 operands: what is chosen and said, that it learns as f32 does, and that it
// repeats itself and goes on to the bit.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "ops/devices.h"
#include "ops/precision.h"
#include "tests/train/corpus_util.h"
#include "train/trainer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr ProductRates kFast{.f32 = 100e9, .bf16 = 131e9, .bf16_instructions = "AMX"};
constexpr ProductRates kSlow{.f32 = 100e9, .bf16 = 129e9, .bf16_instructions = "AVX512-BF16"};
constexpr ProductRates kNone{.f32 = 100e9, .bf16 = {}, .bf16_instructions = nullptr};

TEST(Precision, AutoTakesBf16WhereItPays) {
  const Precision fast = choose_precision("auto", kFast);
  EXPECT_EQ(fast.operands, Operands::bf16);
  EXPECT_EQ(fast.note,
            "precision auto: bf16 (products in f32 100 Gop/s; in bf16 131 Gop/s, 1.31 times f32 "
            "(AMX))");
  EXPECT_EQ(choose_precision("auto", kSlow).operands, Operands::f32);
  const Precision none = choose_precision("auto", kNone);
  EXPECT_EQ(none.operands, Operands::f32);
  EXPECT_EQ(none.note,
            "precision auto: f32 (products in f32 100 Gop/s; in bf16 none: this processor has no "
            "bf16 dot (AVX512-BF16 or AMX))");
}

TEST(Precision, WhatIsAskedForIsDoneAndSaid) {
  EXPECT_EQ(choose_precision("f32", kFast).operands, Operands::f32);
  EXPECT_EQ(choose_precision("f32", kFast).note, "");
  EXPECT_EQ(choose_precision("f32").note, "");
  const Precision slow = choose_precision("bf16", kSlow);
  EXPECT_EQ(slow.operands, Operands::bf16);
  EXPECT_EQ(slow.note, "precision bf16: by AVX512-BF16");
  const Precision none = choose_precision("bf16", kNone);
  EXPECT_EQ(none.operands, Operands::bf16);
  EXPECT_EQ(none.note,
            "precision bf16: does not pay here, operands are rounded and multiplied as f32 "
            "(products in f32 100 Gop/s; in bf16 none: this processor has no bf16 dot "
            "(AVX512-BF16 or AMX))");
}

TEST(Precision, UnknownOnesAreRefusedInALine) {
  RunOptions options;
  Fields fields;
  options.fields(fields);
  std::string message;
  try {
    fields.set("train.precision", {"fp8"});
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("train.precision"), std::string::npos) << message;
  EXPECT_NE(message.find("f32, bf16, auto"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

class PrecisionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new testing::TemporaryDirectory("precision");
    data_ = testing::make_corpus(directory_->path());
  }
  static void TearDownTestSuite() { delete directory_; }

  static RunOptions options(const char* precision, int64_t seed, int64_t steps) {
    RunOptions options = testing::small_run(data_, steps);
    options.train.precision = precision;
    options.model.seed = seed;
    options.data.seed = seed;
    return options;
  }

  /// Trains and returns the losses of all steps in the run's metrics.
  std::vector<double> train(const std::string& name, const RunOptions& options, bool resume = false,
                            int64_t stop_after = 0) {
    notes_.clear();
    TrainerHooks hooks;
    Trainer* running = nullptr;
    hooks.interrupted = [&] { return stop_after > 0 && running->state().step >= stop_after; };
    hooks.note = [&](const std::string& text) { notes_.push_back(text); };
    Trainer trainer(pretraining(options), options, run_path(name), cpu_device(), resume, hooks);
    running = &trainer;
    trainer.run();
    EXPECT_EQ(cpu_device().operands(), Operands::f32);  // for whoever comes next
    std::vector<double> losses;
    for_each_line(run_path(name) / "metrics.jsonl", [&](std::string_view line) {
      if (const MetricsLine parsed = parse_metrics_line(line); parsed.step)
        losses.push_back(parsed.step->loss);
    });
    return losses;
  }

  fs::path run_path(const std::string& name) const { return directory_->path() / name; }

  std::vector<std::string> notes_;
  static testing::TemporaryDirectory* directory_;
  static fs::path data_;
};

testing::TemporaryDirectory* PrecisionTest::directory_ = nullptr;
fs::path PrecisionTest::data_;

/// The mean of the last losses: a single batch's says more of the batch than of the model.
double end_of(const std::vector<double>& losses) {
  double sum = 0;
  for (size_t i = losses.size() - 5; i < losses.size(); ++i) sum += losses[i] / 5;
  return sum;
}

TEST_F(PrecisionTest, LearnsAsF32Does) {
  std::vector<double> ends, differences;
  for (const int64_t seed : {1, 2}) {
    const std::string name = fmt::format("{}", seed);
    const auto wide = train("f32_" + name, options("f32", seed, 30));
    const auto narrow = train("bf16_" + name, options("bf16", seed, 30));
    ASSERT_EQ(narrow.size(), 30u);
    EXPECT_NE(narrow, wide);
    EXPECT_LT(end_of(narrow), narrow[0] - 0.5) << "learns nothing";
    ends.push_back(end_of(wide));
    differences.push_back(std::abs(end_of(narrow) - end_of(wide)));
  }
  const double spread = std::abs(ends[0] - ends[1]);
  for (const double difference : differences) {
    EXPECT_LT(difference, spread);
    EXPECT_LT(difference, 0.01);
  }
}

TEST_F(PrecisionTest, ResumeIsExact) {
  RunOptions run = options("bf16", 1, 12);
  run.train.accumulate = 2;
  const std::vector<double> whole = train("whole", run);
  ASSERT_EQ(whole.size(), 12u);
  EXPECT_TRUE(notes_.at(0).starts_with("train.precision bf16: ")) << notes_[0];
  EXPECT_EQ(train("again", run), whole);
  train("parts", run, false, 5);
  EXPECT_EQ(train("parts", run, true), whole);
}

TEST_F(PrecisionTest, RecomputedActivationsGiveTheSameBits) {
  RunOptions run = options("bf16", 1, 4);
  const std::vector<double> kept = train("kept", run);
  run.train.recompute = true;
  EXPECT_EQ(train("recomputed", run), kept);
}

TEST_F(PrecisionTest, ResumeSaysWhatChanges) {
  train("changed", options("f32", 1, 6), false, 3);
  EXPECT_TRUE(notes_.empty());
  EXPECT_EQ(read_file(run_path("changed") / "model_card.json").find("Precision"),
            std::string::npos);
  train("changed", options("bf16", 1, 6), true);
  EXPECT_EQ(notes_.at(0), "train.precision \"f32\" -> \"bf16\"");
  EXPECT_NE(read_file(run_path("changed") / "model_card.json").find("products of bf16"),
            std::string::npos);
}

}  // namespace
}  // namespace um
