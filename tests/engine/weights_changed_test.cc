// Weights changed in place under an engine: what it says next is what a fresh engine says.
#include <gtest/gtest.h>

#include "tests/engine/collector_util.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

class WeightsChangedTest : public ::testing::TestWithParam<std::string> {
 protected:
  WeightsChangedTest() : model_(random_model(GetParam())) {}

  /// The weights of another seed, in place.
  static void change(Model& model) { model.params().initialize(2); }
  std::vector<int32_t> prompt(size_t tokens, uint64_t seed = 1) const {
    return random_ids(tokens, model_->config().vocab, seed);
  }

  std::unique_ptr<Model> model_;
};

void expect_same(const Collector& one, const Collector& other) {
  EXPECT_EQ(one.tokens, other.tokens);
  ASSERT_EQ(one.all.size(), other.all.size());
  for (size_t i = 0; i < one.all.size(); ++i) {
    EXPECT_EQ(one.all[i].logprob, other.all[i].logprob) << i;
    for (size_t k = 0; k < one.all[i].top.size(); ++k) {
      EXPECT_EQ(one.all[i].top[k].id, other.all[i].top[k].id);
      EXPECT_EQ(one.all[i].top[k].logprob, other.all[i].top[k].logprob);
    }
  }
}

TEST_P(WeightsChangedTest, NewRequestsHaveTheBitsOfAFreshEngine) {
  EngineRequest request = request_for(prompt(150), 6);
  request.top_logprobs = 4;
  Engine engine(*model_, {.prefill_rows = 48});
  const auto ask = [&] {
    const auto sink = std::make_shared<Collector>();
    engine.submit(request, sink);
    engine.run_until_idle();
    return *sink;
  };
  const Collector before = ask();
  EXPECT_GT(ask().stats.cached_tokens, 0);
  change(*model_);
  engine.weights_changed();
  EXPECT_EQ(engine.stats().cache_rows_cached, 0);
  const Collector after = ask();
  EXPECT_EQ(after.stats.cached_tokens, 0);
  expect_same(after, run(*model_, {.prefill_rows = 48}, {request})[0]);
  EXPECT_NE(after.all[0].logprob, before.all[0].logprob);
  expect_same(ask(), after);  // and from the cache, which is kept again
}

TEST_P(WeightsChangedTest, OpenRequestsGoOnWithTheNewWeights) {
  EngineRequest request = request_for(prompt(70), 16);
  request.routed_experts = model_->moe_layers() > 0;
  Engine engine(*model_, {.draft_tokens = 0});
  const auto sink = std::make_shared<Collector>();
  engine.submit(request, sink);
  while (sink->tokens.size() < 6) engine.step();
  change(*model_);
  engine.weights_changed();
  const std::vector<int32_t> first = sink->tokens;
  engine.run_until_idle();
  ASSERT_EQ(sink->tokens.size(), 16u);
  EXPECT_EQ(sink->stats.preemptions, 1);

  EngineRequest rest = request_for(request.prompt, 10);
  rest.prompt.insert(rest.prompt.end(), first.begin(), first.end());
  const Collector expected = run(*model_, {.draft_tokens = 0}, {rest})[0];
  EXPECT_EQ(std::vector<int32_t>(sink->tokens.begin() + 6, sink->tokens.end()), expected.tokens);
  if (!request.routed_experts) return;
  // All reported experts are those of the new weights.
  std::vector<int32_t> ids = request.prompt;
  ids.insert(ids.end(), sink->tokens.begin(), sink->tokens.end() - 1);
  EngineRequest whole = request_for(ids, 1);
  whole.routed_experts = true;
  EXPECT_EQ(sink->stats.routed_experts,
            run(*model_, {.draft_tokens = 0}, {whole})[0].stats.routed_experts);
}

INSTANTIATE_TEST_SUITE_P(Presets, WeightsChangedTest,
                         ::testing::Values("nano-ultra", "tiny-pro", "tiny-embedded",
                                           "nano-openpangu2"),
                         preset_test_name);

/// A draft model's rows are dropped too: it guesses as a fresh one does.
TEST(WeightsChanged, DraftModelsStartAnew) {
  const auto model = random_model("tiny-embedded"), drafts = random_model("tiny-embedded");
  const EngineRequest request = request_for(random_ids(40, model->config().vocab), 24);
  const EngineOptions options{
      .draft_tokens = 3, .draft_model = drafts.get(), .adapt_drafts = false};
  Engine engine(*model, options);
  const auto open = std::make_shared<Collector>(), next = std::make_shared<Collector>();
  engine.submit(request, open);
  while (open->tokens.size() < 8) engine.step();
  model->params().initialize(2);
  drafts->params().initialize(2);
  engine.weights_changed();
  engine.run_until_idle();
  engine.submit(request, next);
  engine.run_until_idle();
  const Collector fresh = run(*model, options, {request})[0];
  EXPECT_EQ(next->tokens, fresh.tokens);
  EXPECT_EQ(next->stats.accepted, fresh.stats.accepted);
  EXPECT_EQ(next->stats.drafted, fresh.stats.drafted);
  EXPECT_EQ(fresh.stats.accepted, fresh.stats.drafted) << "the same model guesses right";
  EXPECT_EQ(open->stats.accepted, open->stats.drafted);
}

/// A reader of a prompt sees every row of the new weights, from the first on.
TEST(WeightsChanged, ReadersBeginAgain) {
  struct Rows : PromptReader {
    void on_rows(int64_t begin, const Tensor& hidden) override {
      values.resize(static_cast<size_t>(begin * hidden.cols()));
      const std::vector<float> some = hidden.to_vector();
      values.insert(values.end(), some.begin(), some.end());
    }
    std::vector<float> values;
  };
  const auto model = random_model("nano-ultra");
  const auto read = [&](Engine& engine, bool changed) {
    auto rows = std::make_shared<Rows>();
    EngineRequest request = request_for(random_ids(90, model->config().vocab), 1);
    request.reader = rows;
    engine.submit(request, std::make_shared<Collector>());
    engine.step();
    if (changed) {
      model->params().initialize(2);
      engine.weights_changed();
    }
    engine.run_until_idle();
    return rows->values;
  };
  Engine engine(*model, {.prefill_rows = 32}), fresh(*model, {.prefill_rows = 32});
  const std::vector<float> values = read(engine, true);
  EXPECT_EQ(values, read(fresh, false));
}

/// Its caller has to wait for the end of the step: the weights were in use.
TEST(WeightsChanged, IsRefusedDuringAStep) {
  struct Impatient : Collector {
    size_t on_tokens(std::span<const TokenOutput> outputs) override {
      EXPECT_THROW(engine->weights_changed(), Error);
      return Collector::on_tokens(outputs);
    }
    Engine* engine = nullptr;
  };
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {});
  const auto sink = std::make_shared<Impatient>();
  sink->engine = &engine;
  engine.submit(request_for({1, 2, 3}, 4), sink);
  engine.run_until_idle();
  EXPECT_EQ(sink->tokens.size(), 4u);
  EXPECT_NO_THROW(engine.weights_changed());
}

}  // namespace
}  // namespace um
