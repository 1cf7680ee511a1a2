// Policy losses: their gradient against finite differences of the published objectives, computed
// here; and rewards, advantages, pools.
#include "post/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "models/checkpoint.h"
#include "models/model_texts.h"
#include "ops/devices.h"
#include "post/grpo.h"
#include "tests/text/tiny_tokenizer_util.h"
#include "tests/train/corpus_util.h"
#include "train/trainer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// Two batches of answers with advantages of both signs and ratios on both sides of the clips.
std::vector<Batch> sampled_batches(std::vector<std::vector<float>>& now) {
  const RandomStream random(5, 1);
  uint64_t at = 0;
  std::vector<Batch> batches(2);
  for (Batch& batch : batches) {
    batch.seq_offsets.assign(1, 0);
    now.emplace_back();
    for (int64_t s = 0; s < 3; ++s) {
      const int64_t prompt = 2, answer = 2 + 2 * s;
      const auto advantage = static_cast<float>(random.normal(at++));
      const double drift = 0.8 * random.normal(at++);  // of the whole answer, for gspo
      for (int64_t i = 0; i < prompt + answer; ++i) {
        const bool own = i >= prompt;
        batch.tokens.push_back(1), batch.positions.push_back(static_cast<int32_t>(i));
        batch.targets.push_back(own ? 2 : -1);
        batch.weights.push_back(own ? advantage : 0.0f);
        batch.sampled_logprobs.push_back(own ? static_cast<float>(-1 - random.uniform(at++))
                                             : 0.0f);
        now.back().push_back(batch.sampled_logprobs.back() +
                             (own ? static_cast<float>(drift + 0.4 * random.normal(at++)) : 0.0f));
      }
      batch.seq_offsets.push_back(batch.size());
    }
  }
  return batches;
}

/// The objective as the papers write it: min(r A, clip(r) A), by answer or by token.
double objective(const PolicyOptions& options, const std::vector<Batch>& batches,
                 const std::vector<std::vector<float>>& now) {
  double sum = 0, answers = 0, tokens = 0;
  for (size_t b = 0; b < batches.size(); ++b) {
    const Batch& batch = batches[b];
    for (size_t s = 0; s + 1 < batch.seq_offsets.size(); ++s) {
      double here = 0, length = 0, mean = 0;
      const auto from = static_cast<size_t>(batch.seq_offsets[s]),
                 to = static_cast<size_t>(batch.seq_offsets[s + 1]);
      const auto log_ratio = [&](size_t t) {
        return static_cast<double>(now[b][t]) - static_cast<double>(batch.sampled_logprobs[t]);
      };
      for (size_t t = from; t < to; ++t)
        if (batch.targets[t] >= 0) length += 1, mean += log_ratio(t);
      mean /= length;
      const auto surrogate = [&](double ratio, double gain) {
        return std::min(ratio * gain,
                        std::clamp(ratio, 1 - options.clip_low, 1 + options.clip_high) * gain);
      };
      for (size_t t = from; t < to; ++t) {
        const auto gain = static_cast<double>(batch.weights[t]);
        if (batch.targets[t] >= 0 && options.loss != "gspo")
          here += surrogate(std::exp(log_ratio(t)), gain);
      }
      if (options.loss == "gspo")
        here = surrogate(std::exp(mean), static_cast<double>(batch.weights[to - 1]));
      if (options.loss == "grpo") here /= length;
      sum += here, answers += 1, tokens += length;
    }
  }
  if (options.loss == "dapo") return sum / tokens;
  return options.loss == "dr_grpo" ? sum / (answers * static_cast<double>(options.max_tokens))
                                   : sum / answers;
}

TEST(Policy, WeightsAreTheGradientsOfThePublishedObjectives) {
  for (const char* loss : {"grpo", "dapo", "dr_grpo", "gspo"}) {
    const PolicyOptions options{.loss = loss, .max_tokens = 10};
    std::vector<std::vector<float>> now;
    const std::vector<Batch> batches = sampled_batches(now);
    PolicyStep step;
    const double all = policy_denominator(options, batches);
    for (size_t b = 0; b < batches.size(); ++b) {
      const std::vector<float> weights = policy_weights(options, batches[b], now[b], step);
      for (size_t t = 0; t < weights.size(); ++t) {
        auto up = now, down = now;
        up[b][t] += 1e-3f, down[b][t] -= 1e-3f;
        const double width = static_cast<double>(up[b][t]) - static_cast<double>(down[b][t]);
        const double slope =
            (objective(options, batches, up) - objective(options, batches, down)) / width;
        EXPECT_NEAR(static_cast<double>(weights[t]) / all, slope, 2e-5)
            << loss << " " << b << " " << t;
      }
    }
    EXPECT_GT(step.clipped, 0) << loss;
    EXPECT_GT(step.gap, 0.1);
  }
}

TEST(Policy, AnswersOfTheSamePolicyHaveTheAdvantageAsWeight) {
  std::vector<std::vector<float>> now;
  const std::vector<Batch> batches = sampled_batches(now);
  PolicyStep step;
  const PolicyOptions options{.loss = "dapo"};
  EXPECT_EQ(policy_weights(options, batches[0], batches[0].sampled_logprobs, step),
            batches[0].weights);
  EXPECT_EQ(step.clipped, 0);
  EXPECT_EQ(step.gap, 0);
}

TEST(Policy, GroupsAreNormalisedByReward) {
  const std::vector<Reward> two = {{"right", 1}, {"brief", 0.5}};
  // The first reward in units of 1, the second in hundredths: neither drowns the other.
  const std::vector<float> both = advantages({{1, 0, 1, 0}, {0.01, 0.01, 0, 0}}, two, true);
  EXPECT_NEAR(both[0], 1.5, 1e-5);
  EXPECT_NEAR(both[1], -0.5, 1e-5);
  EXPECT_NEAR(both[2], 0.5, 1e-5);
  EXPECT_NEAR(both[3], -1.5, 1e-5);
  EXPECT_EQ(advantages({{1, 1, 1}}, {{"right", 1}}, true), (std::vector<float>{0, 0, 0}));
  // Equal rewards that are no round number are equal, too.
  EXPECT_EQ(advantages({{0.1, 0.1, 0.1}}, {{"right", 1}}, true), (std::vector<float>{0, 0, 0}));
  const std::vector<float> plain = advantages({{1, 0, 0, 0}}, {{"right", 1}}, false);
  EXPECT_NEAR(plain[0], 0.75, 1e-6);
  EXPECT_NEAR(plain[1], -0.25, 1e-6);
}

TEST(Policy, RewardsByName) {
  EXPECT_EQ(parse_rewards({"right=2", "brief"})[0].weight, 2);
  EXPECT_THROW(parse_rewards({"nice=1"}), UsageError);
  EXPECT_THROW(parse_rewards({"right=x"}), UsageError);
  EXPECT_THROW(parse_rewards({}), UsageError);
  GrpoOptions options;
  options.max_tokens = 100, options.overlong = 20;
  Answered answer;
  answer.tokens = 80;
  EXPECT_EQ(reward_of("brief", {}, answer, options), 0);
  answer.tokens = 90;
  EXPECT_NEAR(reward_of("brief", {}, answer, options), -0.5, 1e-9);
  answer.tokens = 100, answer.reason = FinishReason::max_tokens;
  EXPECT_NEAR(reward_of("brief", {}, answer, options), -1, 1e-9);
  EXPECT_EQ(reward_of("finished", {}, answer, options), 0);
}

// ---- a run ----

class GrpoTest : public ::testing::Test {
 protected:
  GrpoTest() : directory_("grpo") {
    RunOptions base = testing::small_run("", 1);
    ModelConfig config = configure_model(base.model);
    config.vocab = std::max<int64_t>(config.vocab, tiny_tokenizer().vocab_size());
    const auto model = make_model(config, cpu_device());
    model->params().initialize(1);
    save_model(*model, directory_.path() / "base");
    tiny_tokenizer().save(directory_.path() / "base");
    write_trained_for(directory_.path() / "base", "chat");
    std::string text;
    for (int i = 0; i < 12; ++i)
      text += fmt::format(
          "{{\"messages\": [{{\"role\": \"user\", \"content\": \"{}?\"}}], \"answer\": \"{}\", "
          "\"checker\": \"number\", \"id\": \"q{}\"}}\n",
          i, i, i);
    write_file_atomic(directory_.path() / "q.jsonl", text);
    options_ = grpo_options();
    options_.model.from = (directory_.path() / "base").string();
    GrpoOptions& rl = *options_.grpo;
    rl.path = {(directory_.path() / "q.jsonl").string()};
    rl.prompts = 2, rl.group = 4, rl.max_tokens = 8;
    // A random model is never right; how long it goes on differs.
    rl.rewards = {"right=1", "finished=1", "brief=1"};
    rl.overlong = 8;
    rl.max_waves = 50;
    options_.train.steps = 6, options_.train.lr = 1e-3, options_.train.final_lr = 1e-3;
    options_.train.batch = 8, options_.train.seq_len = 64, options_.train.warmup = 1;
    options_.log.checkpoint_every = 2, options_.log.sample_every = 0;
    options_.log.tensorboard = false;
  }

  fs::path train(const std::string& name, bool resume = false, int64_t stop_after = 0) {
    const auto rollouts =
        std::make_shared<Rollouts>(*options_.grpo, options_.model.from, options_.train.seq_len);
    TrainerHooks hooks;
    Trainer* running = nullptr;
    hooks.interrupted = [&] { return stop_after > 0 && running->state().step >= stop_after; };
    Trainer trainer(grpo(options_, rollouts), options_, directory_.path() / name, cpu_device(),
                    resume, hooks);
    running = &trainer;
    return trainer.run();
  }
  std::vector<StepMetrics> metrics(const std::string& name) const {
    std::vector<StepMetrics> all;
    for_each_line(directory_.path() / name / "metrics.jsonl", [&](std::string_view line) {
      if (const auto parsed = parse_metrics_line(line); parsed.step) all.push_back(*parsed.step);
    });
    return all;
  }
  static double measure(const StepMetrics& step, const std::string& name) {
    for (const auto& [key, value] : step.measures)
      if (key == name) return value;
    ADD_FAILURE() << "no " << name;
    return 0;
  }

  testing::TemporaryDirectory directory_;
  RunOptions options_;
};

TEST_F(GrpoTest, SamplesFromTheWeightsInTraining) {
  train("run");
  const std::vector<StepMetrics> steps = metrics("run");
  ASSERT_EQ(steps.size(), 6u);
  for (const StepMetrics& step : steps) {
    EXPECT_LT(measure(step, "logprob_gap"), 1e-3);
    EXPECT_EQ(measure(step, "clipped"), 0);
    EXPECT_GT(measure(step, "useful_groups"), 0);
    EXPECT_GT(step.grad_norm, 0);
  }
}

TEST_F(GrpoTest, SeveralUpdatesShareASamplingAndAResumedRunIsTheSameRun) {
  options_.grpo->updates = 2;
  options_.train.accumulate = 2;
  const fs::path whole = train("whole");
  // Stops in the middle of a set of answers, which the checkpoint keeps.
  train("parts", false, 3);
  const fs::path parts = train("parts", true);
  EXPECT_EQ(read_file(whole / "model.safetensors", 1u << 28),
            read_file(parts / "model.safetensors", 1u << 28));
  const std::vector<StepMetrics> steps = metrics("whole");
  EXPECT_LT(measure(steps[0], "logprob_gap"), 1e-3);
  EXPECT_GT(measure(steps[1], "logprob_gap"), 1e-3);  // the weights have moved since
  const std::vector<StepMetrics> again = metrics("parts");
  ASSERT_EQ(again.size(), steps.size());
  for (size_t i = 0; i < steps.size(); ++i)
    for (const auto& [name, value] : steps[i].measures) {
      if (name == "sampling_s") continue;
      EXPECT_EQ(measure(again[i], name), value) << name << " " << i;
    }
}

TEST_F(GrpoTest, PhasesShareThePool) {
  options_.train.steps = 2;
  options_.train.phases.push_back({.steps = 2, .lr = 1e-3});
  const fs::path whole = train("whole");
  train("parts", false, 2);  // at the phase's end
  EXPECT_EQ(read_file(whole / "model.safetensors", 1u << 28),
            read_file(train("parts", true) / "model.safetensors", 1u << 28));
}

TEST_F(GrpoTest, WhatWouldChangeARunInTheMiddleIsRefused) {
  options_.grpo->updates = 2;
  train("run", false, 1);
  options_.train.accumulate = 2;
  EXPECT_THROW(train("run", true), UsageError);
  options_.train.accumulate = 1;
  write_file_atomic(directory_.path() / "q.jsonl",
                    "{\"question\": \"1\", \"answer\": \"#### 2\"}\n");
  EXPECT_THROW(train("run", true), UsageError);
}

TEST_F(GrpoTest, OptionsWithoutMeaningAreRefused) {
  const auto refused = [&](auto change) {
    const RunOptions kept = options_;
    change(options_);
    EXPECT_THROW(train("run"), UsageError);
    options_ = kept;
  };
  refused([](RunOptions& o) { o.train.mtp_weight = 0.3; });
  refused([](RunOptions& o) { o.train.freeze = "trunk"; });
  refused([](RunOptions& o) { o.train.accumulate = 5; });
  refused([](RunOptions& o) { o.train.phases.push_back({.steps = 1, .batch = 2}); });
  refused([](RunOptions& o) { o.grpo->overlong = 0; });
  refused([](RunOptions& o) { o.grpo->rewards = {"right=0"}; });
}

TEST_F(GrpoTest, RaisesWhatIsRewarded) {
  // Random answers are cut at 8 tokens; ending sooner is the whole reward.
  options_.grpo->rewards = {"brief=1"};
  options_.grpo->prompts = 4, options_.grpo->group = 8;
  options_.train.steps = 25, options_.train.lr = 5e-3, options_.train.final_lr = 5e-3;
  train("run");
  const std::vector<StepMetrics> steps = metrics("run");
  EXPECT_LT(measure(steps.back(), "answer_tokens"), 0.7 * measure(steps.front(), "answer_tokens"));
}

TEST_F(GrpoTest, QuestionsThatTeachNothingAreAnError) {
  options_.grpo->rewards = {"right=1"};
  options_.grpo->max_waves = 2;
  try {
    train("run");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("too hard or too easy"), std::string::npos)
        << error.what();
  }
  options_.grpo->path = {(directory_.path() / "none.jsonl").string()};
  write_file_atomic(directory_.path() / "none.jsonl", "\n");
  EXPECT_THROW(train("other"), Error);
}

}  // namespace
}  // namespace um
