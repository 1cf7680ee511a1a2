// The engine's promise: a request's tokens are the same alone, in a full batch, in chunks, from a
// cached prefix, after preemption and with speculation. And its manners: limits, ends, fairness.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "core/error.h"
#include "models/count.h"
#include "tests/engine/collector_util.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

std::vector<int32_t> alone(const Model& model, const EngineRequest& request,
                           DType cache = DType::f32) {
  return run(model, {.cache_type = cache, .draft_tokens = 0, .prefix_cache = false}, {request})[0]
      .tokens;
}

/// Prompts of odd lengths, some with a common beginning longer than a page.
std::vector<EngineRequest> mixed_requests(const Model& model, double temperature) {
  const int64_t vocab = model.config().vocab;
  const std::vector<int32_t> common = random_ids(150, vocab, 11);
  std::vector<EngineRequest> requests;
  for (int32_t i = 0; i < 9; ++i) {
    const auto seed = static_cast<uint32_t>(20 + i);
    std::vector<int32_t> prompt = i % 3 == 0 ? common : std::vector<int32_t>();
    const std::vector<int32_t> rest = random_ids(static_cast<size_t>(1 + 17 * i), vocab, seed);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    requests.push_back(request_for(prompt, 20 + i, temperature));
  }
  return requests;
}

/// The default pool takes no more than its share of the free memory and says so; one that was asked
/// for fits or is refused.
TEST(EnginePool, FitsTheFreeMemory) {
  const auto model = random_model("nano-ultra");
  const int64_t page = kv_layout(model->config()).pool_bytes(1, DType::f32);
  const int64_t context = model->config().max_positions;
  {
    const Engine engine(*model, {});
    EXPECT_EQ(engine.stats().cache_rows, 0);  // nothing has run
    EXPECT_GE(engine.options().cache_tokens, 8192);
    EXPECT_EQ(engine.options().context, context);
  }
  const Engine engine(*model, {.free_memory = 6 * page + 1});
  EXPECT_EQ(engine.options().cache_tokens, 3 * kPageRows);
  EXPECT_EQ(engine.options().context, std::min(context, 3 * kPageRows));
  const std::string said = engine.describe_cache();
  for (const char* part : {"192 tokens in f32", "50.0% of the free memory", "context of 192"})
    EXPECT_NE(said.find(part), std::string::npos) << said;
  EXPECT_THROW(Engine(*model, {.free_memory = 2 * page - 1}), Error);
  EXPECT_NO_THROW(Engine(*model, {.cache_tokens = 6 * kPageRows, .free_memory = 6 * page}));
  try {
    Engine(*model, {.cache_tokens = 6 * kPageRows + 1, .free_memory = 6 * page});
    FAIL() << "a pool that does not fit";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("ask for fewer tokens"), std::string::npos)
        << error.what();
  }
}

/// Rows of sinks and the pool of a draft model count.
TEST(EnginePool, CountsAllThatItTakes) {
  const auto model = random_model("nano-openpangu2"), drafter = random_model("nano-ultra");
  const KvLayout layout = kv_layout(model->config());
  EXPECT_GT(layout.sinks, 0);
  const int64_t all =
      layout.pool_bytes(2, DType::f32) + kv_layout(drafter->config()).pool_bytes(2, DType::f32);
  EXPECT_GT(layout.pool_bytes(0, DType::f32), 0);
  EngineOptions options{
      .cache_tokens = 2 * kPageRows, .free_memory = all, .draft_model = drafter.get()};
  EXPECT_NO_THROW(Engine(*model, options));
  options.free_memory = all - 1;
  EXPECT_THROW(Engine(*model, options), Error);
}

/// bf16 where the weights are bf16 or narrower, f32 where they are f32.
TEST(EnginePool, DefaultTypeFollowsTheWeights) {
  const auto model = random_model("nano-ultra");
  EXPECT_EQ(Engine(*model, {.cache_tokens = 64}).options().cache_type, DType::f32);
  for (const DType weights : {DType::bf16, DType::i8}) {
    const auto narrow = make_model(model->config(), model->device(), weights);
    EXPECT_EQ(Engine(*narrow, {.cache_tokens = 64}).options().cache_type, DType::bf16);
  }
}

/// A preset and the type of the cache.
class EngineEquality : public ::testing::TestWithParam<std::pair<std::string, DType>> {};

TEST_P(EngineEquality, TokensDoNotDependOnTheCompany) {
  const auto [preset, cache] = GetParam();
  const auto model = random_model(preset);
  for (const double temperature : {0.0, 1.0}) {
    const std::vector<EngineRequest> requests = mixed_requests(*model, temperature);
    std::vector<std::vector<int32_t>> expected;
    for (const EngineRequest& request : requests) expected.push_back(alone(*model, request, cache));
    const std::map<std::string, EngineOptions> arms = {
        {"batched", {.draft_tokens = 0}},
        {"no prefix cache", {.draft_tokens = 0, .prefix_cache = false}},
        {"chunks of 7", {.prefill_rows = 7, .draft_tokens = 0}},
        {"small batch", {.max_batch = 2, .draft_tokens = 0}},
        {"speculative", {.adapt_drafts = false}},
        {"n-gram drafts", {.draft_tokens = 3, .ngram_drafts = true, .adapt_drafts = false}},
        {"adaptive", {}},
        {"little memory", {.cache_tokens = 320}},
    };
    for (auto [name, options] : arms) {
      options.cache_type = cache;
      EngineStats stats;
      const std::vector<Collector> got = run(*model, options, requests, &stats);
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_EQ(got[i].tokens, expected[i])
            << name << ", temperature " << temperature << ", request " << i;
      EXPECT_EQ(stats.cache_rows_used, 0) << name;
      EXPECT_EQ(stats.preemptions > 0, name == "little memory") << name;
      EXPECT_EQ(stats.cached_prompt_tokens > 0, options.prefix_cache) << name;
      if (!options.ngram_drafts) {  // a random text seldom repeats itself
        EXPECT_EQ(stats.draft_tokens > 0, options.draft_tokens < 0 && model->mtp_heads() > 0)
            << name;  // adaptive ones are tried at least at the first token
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, EngineEquality,
                         ::testing::ValuesIn(std::vector<std::pair<std::string, DType>>{
                             {"nano-ultra", DType::f32},
                             {"tiny-pro", DType::f32},
                             {"tiny-embedded", DType::f32},
                             {"nano-openpangu2", DType::f32},
                             {"nano-openpangu2", DType::i8},
                             {"nano-ultra", DType::i8},
                             {"nano-ultra", DType::bf16},
                             {"tiny-embedded", DType::bf16},
                             {"tiny-embedded", DType::i8}}),
                         [](const auto& info) {
                           std::string name = info.param.first;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name + (info.param.second == DType::i8     ? "_int8_cache"
                                          : info.param.second == DType::bf16 ? "_bf16_cache"
                                                                             : "");
                         });

TEST(Engine, AcceptsDraftsOfATextThatRepeats) {
  const auto model = random_model("tiny-embedded");
  EngineRequest request = request_for(random_ids(12, model->config().vocab), 120);
  request.sampling.logit_bias = {{5, 900.0f},
                                 {6, 900.0f}};  // two tokens, by what the model prefers
  EngineStats stats;
  const auto got = run(*model, {.draft_tokens = 4, .ngram_drafts = true, .adapt_drafts = false},
                       {request}, &stats);
  EXPECT_EQ(got[0].tokens, alone(*model, request));
  EXPECT_GT(got[0].stats.accepted, 10);
  EXPECT_LT(stats.steps, 110);
}

/// Four requests, greedy and sampled in turn, `step` prompt tokens longer each, with drafts of
/// `drafter`: each gives what `model` gives alone, and more than `least` tokens are drafted.
void expect_right_drafts(const Model& model, const Model& drafter, int32_t drafts, int32_t step,
                         int32_t tokens, int64_t least) {
  std::vector<EngineRequest> requests;
  for (int32_t i = 0; i < 4; ++i)
    requests.push_back(request_for(
        random_ids(static_cast<size_t>(5 + step * i), model.config().vocab), tokens, i % 2));
  EngineStats stats;
  const auto got =
      run(model, {.draft_tokens = drafts, .draft_model = &drafter, .adapt_drafts = false}, requests,
          &stats);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].tokens, alone(model, requests[i])) << i;
  EXPECT_GT(stats.draft_tokens, least);
  // A model that drafts for itself at temperature 0 is right but for rounding.
  if (&drafter == &model) {
    EXPECT_GE(got[0].stats.accepted, got[0].stats.drafted * 9 / 10);
  }
}

TEST(Engine, ASmallModelCanDraft) {
  const auto model = random_model("tiny-embedded");
  const auto other = random_model("tiny-embedded", 2);
  for (const Model* drafter : {model.get(), other.get()})
    expect_right_drafts(*model, *drafter, 3, 40, 80, 0);
  EXPECT_THROW(Engine(*model, {.draft_model = random_model("nano-ultra").get()}), UsageError);
}

/// Many drafts at once, most of them taken back, across the borders of pages: what a model keeps of
/// its convolutions bounds how many.
TEST(Engine, AModelWithConvolutionsCanDraft) {
  const auto model = random_model("nano-openpangu2");
  const auto other = random_model("nano-openpangu2", 2);
  for (const Model* drafter : {model.get(), other.get()}) {
    const EngineOptions options{.draft_tokens = 16, .draft_model = drafter, .adapt_drafts = false};
    EXPECT_EQ(Engine(*model, options).options().draft_tokens, 6);
    expect_right_drafts(*model, *drafter, 16, 30, 90, 400);
  }
}

TEST(Engine, ASecondRequestReusesThePrompt) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {});
  const EngineRequest request = request_for(random_ids(200, model->config().vocab), 5);
  const auto first = std::make_shared<Collector>(), second = std::make_shared<Collector>();
  engine.submit(request, first);
  engine.run_until_idle();
  engine.submit(request, second);
  engine.run_until_idle();
  EXPECT_EQ(first->stats.cached_tokens, 0);
  EXPECT_EQ(second->stats.cached_tokens, 199);
  EXPECT_EQ(first->tokens, second->tokens);
}

TEST(Engine, RequestsOfOneCallComputeTheirPromptOnce) {
  const auto model = random_model("nano-ultra");
  const EngineRequest request = request_for(random_ids(200, model->config().vocab), 5);
  EngineStats stats;
  run(*model, {.prefill_rows = 64}, {request, request, request}, &stats);
  EXPECT_EQ(stats.prompt_tokens, 3 * 200);
  EXPECT_LE(stats.prompt_tokens - stats.cached_prompt_tokens, 200 + 2 * 64);
  EXPECT_GE(stats.cached_prompt_tokens, 2 * 192);
}

TEST(Engine, EndsWhereItShould) {
  const auto model = random_model("nano-ultra");
  const std::vector<int32_t> prompt = random_ids(10, model->config().vocab);
  EngineRequest request = request_for(prompt, 30);
  const std::vector<int32_t> all = alone(*model, request);
  request.eos = {all[12]};
  const size_t first = static_cast<size_t>(std::ranges::find(all, all[12]) - all.begin());
  const Collector ended = run(*model, {}, {request})[0];
  EXPECT_EQ(ended.reason, FinishReason::eos);
  EXPECT_EQ(ended.tokens,
            (std::vector<int32_t>{all.begin(), all.begin() + static_cast<int>(first)}));
  request.min_tokens = 30;
  EXPECT_EQ(run(*model, {}, {request})[0].reason, FinishReason::max_tokens);
  const Collector full = run(*model, {.context = 16}, {request_for(prompt, 30)})[0];
  EXPECT_EQ(full.reason, FinishReason::context);
  EXPECT_EQ(full.tokens.size(), 6u);
  EXPECT_EQ(run(*model, {}, {request_for(prompt, 1)})[0].tokens.size(), 1u);
}

TEST(Engine, TheSinkCanStop) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {});
  const auto sink = std::make_shared<Collector>();
  sink->keep = 4;
  engine.submit(request_for({1, 2, 3}, 30), sink);
  engine.run_until_idle();
  EXPECT_EQ(sink->reason, FinishReason::stop);
  EXPECT_EQ(sink->tokens.size(), 4u);
}

TEST(Engine, CancelsWhatRunsAndWhatWaits) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.max_batch = 1});
  const auto running = std::make_shared<Collector>(), waiting = std::make_shared<Collector>();
  const uint64_t first = engine.submit(request_for({1, 2, 3}, 100), running);
  const uint64_t second = engine.submit(request_for({1, 2, 3}, 100), waiting);
  for (int i = 0; i < 5; ++i) engine.step();
  engine.cancel(first);
  engine.cancel(second);
  engine.cancel(12345);
  engine.run_until_idle();
  EXPECT_EQ(running->reason, FinishReason::cancelled);
  EXPECT_FALSE(running->tokens.empty());
  EXPECT_EQ(waiting->reason, FinishReason::cancelled);
  EXPECT_TRUE(waiting->tokens.empty());
}

TEST(Engine, HigherPriorityGoesFirst) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.max_batch = 1});
  const auto low = std::make_shared<Collector>(), high = std::make_shared<Collector>();
  engine.submit(request_for({1, 2, 3}, 5), low);
  EngineRequest urgent = request_for({1, 2, 3}, 5);
  urgent.priority = 1;
  engine.submit(urgent, high);
  while (!high->finished) {
    ASSERT_TRUE(engine.step());
    ASSERT_TRUE(low->tokens.empty());
  }
  engine.run_until_idle();
  EXPECT_TRUE(low->finished);
}

TEST(Engine, ALongPromptDoesNotStopTheOthers) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.prefill_rows = 8});
  const auto talker = std::make_shared<Collector>(), reader = std::make_shared<Collector>();
  engine.submit(request_for({1, 2, 3}, 60), talker);
  engine.step();
  engine.submit(request_for(random_ids(240, model->config().vocab), 3), reader);
  for (int i = 0; i < 10; ++i) engine.step();
  EXPECT_TRUE(reader->tokens.empty());
  EXPECT_GE(talker->tokens.size(), 11u);
  engine.run_until_idle();
  EXPECT_EQ(reader->tokens.size(), 3u);
}

TEST(Engine, GivesLogProbabilities) {
  const auto model = random_model("tiny-embedded");
  EngineRequest request = request_for({1, 2, 3}, 4);
  request.top_logprobs = 5;
  const Collector got = run(*model, {}, {request})[0];
  ASSERT_EQ(got.all.size(), 4u);
  for (const TokenOutput& output : got.all) {
    ASSERT_EQ(output.top.size(), 5u);
    EXPECT_EQ(output.top[0].id, output.id) << "temperature 0 takes the most likely";
    EXPECT_EQ(output.top[0].logprob, output.logprob);
    EXPECT_GE(output.top[3].logprob, output.top[4].logprob);
    EXPECT_LT(output.logprob, 0);
  }
}

TEST(Engine, ReportsTheExpertsOfEveryRow) {
  const auto model = random_model("nano-ultra");
  const std::vector<int32_t> prompt = random_ids(70, model->config().vocab);
  EngineRequest request = request_for(prompt, 9);
  request.routed_experts = true;
  const auto got = run(*model, {.prefill_rows = 32}, {request, request_for(prompt, 5), request});
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), got[0].tokens.begin(), got[0].tokens.end() - 1);
  std::vector<Tensor> routes;
  const std::vector<int64_t> offsets = {0, std::ssize(ids)};
  const Tensor tokens =
      Tensor::from(model->device(), {std::ssize(ids)}, std::span<const int32_t>(ids));
  model->trunk(tokens, Ragged::full(model->device(), offsets), {.expert_ids = &routes});
  std::vector<int16_t> expected;
  for (int64_t row = 0; row < std::ssize(ids); ++row)
    for (const Tensor& layer : routes)
      for (int64_t k = 0; k < layer.cols(); ++k)
        expected.push_back(static_cast<int16_t>(layer.i32()[row * layer.cols() + k]));
  EXPECT_EQ(std::ssize(routes), model->trunk_moe_layers());
  EXPECT_EQ(got[0].stats.routed_experts, expected);
  EXPECT_EQ(got[2].stats.routed_experts, expected);
  EXPECT_TRUE(got[1].stats.routed_experts.empty());
}

TEST(Engine, RefusesWhatCannotRun) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.context = 32, .max_batch = 1, .max_queue = 1});
  const auto sink = std::make_shared<Collector>();
  EXPECT_THROW(engine.submit(request_for({}, 5), sink), Error);
  EXPECT_THROW(engine.submit(request_for({-1}, 5), sink), Error);
  EXPECT_THROW(engine.submit(request_for({1 << 30}, 5), sink), Error);
  EXPECT_THROW(engine.submit(request_for(std::vector<int32_t>(32, 1), 5), sink), Error);
  EXPECT_THROW(engine.submit(request_for({1}, 0), sink), UsageError);
  engine.submit(request_for({1}, 5), sink);
  engine.submit(request_for({1}, 5), std::make_shared<Collector>());
  EXPECT_THROW(engine.submit(request_for({1}, 5), sink), BusyError);
  engine.run_until_idle();
  engine.drain();
  EXPECT_THROW(engine.submit(request_for({1}, 5), sink), BusyError);
}

TEST(Engine, ServesManyThreads) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.cache_tokens = 1024, .max_batch = 8});
  std::thread runner([&] { engine.run(); });
  std::vector<std::shared_ptr<Collector>> sinks;
  for (int i = 0; i < 24; ++i) sinks.push_back(std::make_shared<Collector>());
  std::vector<std::thread> clients;
  for (size_t c = 0; c < 4; ++c)
    clients.emplace_back([&, c] {
      for (size_t i = c; i < sinks.size(); i += 4) {
        const uint64_t id =
            engine.submit(request_for({1, static_cast<int32_t>(i + 2)}, 10), sinks[i]);
        if (i % 5 == 0) engine.cancel(id);
      }
    });
  for (std::thread& client : clients) client.join();
  while (engine.stats().finished < 24) std::this_thread::yield();
  engine.stop();
  runner.join();
  for (size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_TRUE(sinks[i]->finished);
    if (i % 5 != 0) {
      EXPECT_EQ(sinks[i]->tokens.size(), 10u);
    }
  }
}

}  // namespace
}  // namespace um
