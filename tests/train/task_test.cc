// The loop and what it is handed: any source of batches, any objective.
#include "train/task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "ops/devices.h"
#include "tests/train/corpus_util.h"
#include "train/trainer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// Sequences that count up from a random token, the first half of each masked, with weights. Ends
/// after `length` batches.
class CountingSource : public BatchSource {
 public:
  CountingSource(int64_t seed, int64_t length) : seed_(seed), length_(length) {}

  bool next(Batch& batch) override {
    batch = {};
    if (at_ == length_) return false;
    const RandomStream random(static_cast<uint64_t>(seed_), 3);
    for (uint64_t s = 0; s < 3; ++s) {
      const auto first =
          static_cast<int32_t>(random.bits(4 * static_cast<uint64_t>(at_) + s) % 300);
      std::vector<int32_t> tokens;
      for (int32_t t = 0; t < 10; ++t) tokens.push_back(first + t);
      add_sequence(batch, tokens);
      for (size_t t = batch.tokens.size() - 10; t < batch.tokens.size() - 5; ++t)
        batch.targets[t] = -1;
    }
    batch.weights.assign(batch.tokens.size(), 0.5f + static_cast<float>(at_ % 3));
    ++at_;
    return true;
  }
  Json state() const override {
    return {{"corpora", "counting"}, {"seed", seed_}, {"seq_len", 32}, {"at", at_}};
  }
  void restore(const Json& state) override { at_ = state.at("at").get<int64_t>(); }
  SourceDescription describe() const override {
    return {.vocab_size = 320,
            .tokenizer_hash = "none",
            .origin = "counting",
            .facts = {{"Data", "sequences that count"}}};
  }

 private:
  int64_t seed_, length_, at_ = 0;
};

/// The next token, and a note of what was run on a real device.
class NotedObjective : public Objective {
 public:
  StepLosses run(const Model& model, std::span<const Batch> batches,
                 const StepOptions& options) const override {
    if (!model.device().dry()) sizes.push_back(batches.size());
    return NextTokenObjective({}).run(model, batches, options);
  }
  mutable std::vector<size_t> sizes;
};

class TaskTest : public ::testing::Test {
 protected:
  TaskTest() : directory_("task") {
    options_ = testing::small_run("", 8);
    options_.data.path.clear();
    options_.train.accumulate = 2;
    options_.train.mtp_weight = 0;
    options_.train.warmup = 2;
  }

  TrainingTask counting(int64_t batches = 1000) {
    TrainingTask task;
    task.stream = [=, this](const Phase&, size_t index) {
      opened_.push_back(index);
      return std::make_unique<CountingSource>(5 + static_cast<int64_t>(index), batches);
    };
    task.objective = objective_;
    return task;
  }
  fs::path run_path(const std::string& name) const { return directory_.path() / name; }
  std::vector<MetricsLine> train(const std::string& name, const TrainingTask& task,
                                 bool resume = false, int64_t stop_after = 0) {
    TrainerHooks hooks;
    Trainer* running = nullptr;
    hooks.interrupted = [&] { return stop_after > 0 && running->state().step >= stop_after; };
    Trainer trainer(task, options_, run_path(name), cpu_device(), resume, hooks);
    running = &trainer;
    trainer.run();
    std::vector<MetricsLine> lines;
    for_each_line(run_path(name) / "metrics.jsonl",
                  [&](std::string_view line) { lines.push_back(parse_metrics_line(line)); });
    return lines;
  }
  static std::vector<double> losses(const std::vector<MetricsLine>& lines) {
    std::vector<double> all;
    for (const MetricsLine& line : lines)
      if (line.step) all.push_back(line.step->loss);
    return all;
  }

  testing::TemporaryDirectory directory_;
  RunOptions options_;
  std::shared_ptr<NotedObjective> objective_ = std::make_shared<NotedObjective>();
  std::vector<size_t> opened_;
};

TEST_F(TaskTest, RunsAnySourceAndObjective) {
  const std::vector<double> whole = losses(train("whole", counting()));
  ASSERT_EQ(whole.size(), 8u);
  EXPECT_EQ(objective_->sizes, std::vector<size_t>(8, 2));
  EXPECT_NE(read_file(run_path("whole") / "model_card.json", 1 << 20).find("sequences that count"),
            std::string::npos);
  train("parts", counting(), false, 3);
  EXPECT_EQ(losses(train("parts", counting(), true)), whole);
}

TEST_F(TaskTest, PhasesOpenStreamsOfTheirOwn) {
  options_.train.phases.push_back({.steps = 3});
  const std::vector<double> whole = losses(train("whole", counting()));
  ASSERT_EQ(whole.size(), 11u);
  EXPECT_EQ(opened_, (std::vector<size_t>{0, 1}));
  train("parts", counting(), false, 9);
  EXPECT_EQ(losses(train("parts", counting(), true)), whole);
}

TEST_F(TaskTest, ValidationIsTheTasks) {
  options_.log.eval_every = 4;
  const auto validations = [](const std::vector<MetricsLine>& lines) {
    return std::ranges::count_if(lines,
                                 [](const auto& line) { return line.validation.has_value(); });
  };
  EXPECT_EQ(validations(train("without", counting())), 0);
  TrainingTask task = counting();
  task.held_out = [](const Phase&) {
    std::vector<HeldOut> parts(1);
    parts[0].source = std::make_unique<CountingSource>(99, 2);
    return parts;
  };
  EXPECT_EQ(validations(train("with", task)), 3);
}

TEST_F(TaskTest, SaysWhenTheDataHasEnded) {
  try {
    train("short", counting(5));
    FAIL() << "a step takes two batches, there are five";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("step 3: the data has ended"), std::string::npos)
        << error.what();
  }
}

TEST_F(TaskTest, AnotherSourceDoesNotGoOn) {
  train("run", counting(), false, 3);
  struct Other : CountingSource {
    using CountingSource::CountingSource;
    Json state() const override {
      Json state = CountingSource::state();
      state["corpora"] = "others";
      return state;
    }
  };
  TrainingTask task = counting();
  task.stream = [](const Phase&, size_t) { return std::make_unique<Other>(5, 1000); };
  EXPECT_THROW(train("run", task, true), UsageError);
}

TEST(PretrainingTest, DescribesItsCorpora) {
  const testing::TemporaryDirectory directory("pretraining");
  const fs::path data = testing::make_corpus(directory.path(), 200);
  const RunOptions options = testing::small_run(data, 4);
  const TrainingTask task = pretraining(options);
  const SourceDescription all = task.stream(plan_phases(options.train, 4).front(), 0)->describe();
  EXPECT_EQ(all.vocab_size, 320);
  EXPECT_EQ(all.origin, data.string());
  EXPECT_GT(all.unigram_entropy, 1);
  EXPECT_GT(all.bytes_per_target, all.bytes_per_token);
  ASSERT_EQ(all.facts.size(), 4u);
  EXPECT_EQ(all.facts[0].first, "Text");
  EXPECT_NE(all.facts[3].second.find(all.tokenizer_hash), std::string::npos);
  EXPECT_EQ(task.texts, data);
}

TEST(PretrainingTest, NeedsACorpus) {
  RunOptions options;
  const TrainingTask task = pretraining(options);
  EXPECT_THROW(task.stream(plan_phases(options.train, 4).front(), 0), UsageError);
  options.data.path = {"one", "two"};
  options.data.weights = {1};
  EXPECT_THROW(pretraining(options).stream(plan_phases(options.train, 4).front(), 0), UsageError);
}

}  // namespace
}  // namespace um
