// Decoding on the cache against whole forwards, and generation with its ends.
#include "engine/generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "models/checkpoint.h"
#include "ops/devices.h"
#include "tests/engine/cached_sequence_util.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// Largest difference of `got` from row `row` of `all`, relative to the largest logit.
double difference(const std::vector<float>& got, const std::vector<float>& all, size_t row) {
  double worst = 0, scale = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double expected = static_cast<double>(all[row * got.size() + i]);
    worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - expected));
    scale = std::max(scale, std::fabs(expected));
  }
  return worst / scale;
}

class CachedDecode : public ::testing::TestWithParam<std::string> {};

/// Behind 40 prompt tokens also as generated ones, which take MLA's absorbed form.
TEST_P(CachedDecode, EqualsTheWholeForward) {
  const auto model = random_model(GetParam());
  const std::vector<int32_t> ids = random_ids(75, model->config().vocab);
  const std::vector<float> expected = full_logits(*model, ids);
  double largest = 0;
  for (const std::vector<size_t>& chunks :
       {std::vector<size_t>(75, 1), std::vector<size_t>{40, 1, 1, 33},
        std::vector<size_t>{16, 17, 42}, std::vector<size_t>{75},
        std::vector<size_t>{3, 16, 1, 20, 5, 30}}) {
    CachedSequence sequence(*model, 100);
    size_t at = 0;
    for (const size_t count : chunks) {
      const auto chunk = std::span(ids).subspan(at, count);
      const std::vector<float> got =
          at < 40 ? sequence.append(chunk) : sequence.append_generated(chunk);
      at += count;
      EXPECT_LT(difference(got, expected, at - 1), 1e-4) << "after " << at << " tokens";
      largest = std::max(largest, difference(got, expected, at - 1));
    }
    ASSERT_EQ(at, ids.size());
  }
  RecordProperty("largest_difference", fmt::format("{:.1e}", largest));
}

TEST_P(CachedDecode, GreedyTokensEqualThoseWithoutCache) {
  const auto model = random_model(GetParam());
  const std::vector<int32_t> prompt = random_ids(9, model->config().vocab, 3);
  Engine engine(*model, {.context = 64});
  const Generation got =
      generate(engine, nullptr, prompt, {.sampling = {.temperature = 0}, .max_tokens = 24});
  std::vector<int32_t> ids = prompt;
  for (int i = 0; i < 24; ++i) {
    const std::vector<float> all = full_logits(*model, ids);
    ids.push_back(greedy(std::span(all).last(static_cast<size_t>(model->config().vocab))));
  }
  EXPECT_EQ(got.tokens, (std::vector<int32_t>{ids.begin() + 9, ids.end()}));
  EXPECT_EQ(got.reason, FinishReason::max_tokens);
  EXPECT_EQ(got.stats.prompt_tokens, 9);
}

TEST_P(CachedDecode, ASecondTurnReusesTheFirst) {
  const auto model = random_model(GetParam());
  const GenerateOptions options{.sampling = {.temperature = 0.9}, .seed = 4, .max_tokens = 12};
  std::vector<int32_t> prompt = random_ids(70, model->config().vocab, 5);
  Engine kept(*model, {.context = 128}), fresh(*model, {.context = 128});
  const Generation first = generate(kept, nullptr, prompt, options);
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.begin() + 6);
  const std::vector<int32_t> more = random_ids(7, model->config().vocab, 6);
  prompt.insert(prompt.end(), more.begin(), more.end());
  const Generation second = generate(kept, nullptr, prompt, options);
  // What it said itself is read again; with convolutions, so is what does not fill a page.
  const bool parts = model->config().attention.conv_taps == 0;
  EXPECT_EQ(second.stats.cached_tokens, parts ? 70 : 64);
  EXPECT_EQ(second.tokens, generate(fresh, nullptr, prompt, options).tokens);
}

INSTANTIATE_TEST_SUITE_P(Engine, CachedDecode,
                         ::testing::Values("nano-ultra", "tiny-pro", "tiny-embedded",
                                           "nano-openpangu2"),
                         preset_test_name);

TEST(Generate, EndsAtEosAndAtTheContext) {
  const auto model = random_model("nano-ultra");
  const std::vector<int32_t> prompt = {1, 5, 9};
  GenerateOptions options{.sampling = {.temperature = 0}, .max_tokens = 10};
  Engine engine(*model, {.context = 64});
  const std::vector<int32_t> all = generate(engine, nullptr, prompt, options).tokens;
  ASSERT_EQ(all.size(), 10u);
  options.eos = {all[4]};
  const Generation ended = generate(engine, nullptr, prompt, options);
  const auto first = std::find(all.begin(), all.end(), all[4]);
  EXPECT_EQ(ended.tokens, (std::vector<int32_t>{all.begin(), first}));
  EXPECT_EQ(ended.reason, FinishReason::eos);

  Engine small(*model, {.context = 8});
  options.eos.clear();
  const Generation full = generate(small, nullptr, prompt, options);
  EXPECT_EQ(full.reason, FinishReason::context);
  EXPECT_EQ(full.tokens, (std::vector<int32_t>{all.begin(), all.begin() + 5}));
}

TEST(Generate, StreamsTextUpToAStopString) {
  const auto model = random_model("nano-ultra");
  const Tokenizer& tokenizer = tiny_tokenizer();
  const std::vector<int32_t> prompt = tokenizer.encode("the river", {.add_bos = true});
  GenerateOptions options{.seed = 2, .max_tokens = 60};
  Engine engine(*model, {.context = 100});
  std::string streamed;
  const TokenCallback collect = [&](int32_t, std::string_view text) {
    streamed += text;
    return true;
  };
  const Generation whole = generate(engine, &tokenizer, prompt, options, collect);
  EXPECT_EQ(streamed, whole.text);
  std::vector<int32_t> both = prompt;
  both.insert(both.end(), whole.tokens.begin(), whole.tokens.end());
  EXPECT_EQ("the river" + whole.text, tokenizer.decode(both));

  ASSERT_GT(whole.text.size(), 40u);
  options.stop = {whole.text.substr(20, 9)};
  streamed.clear();
  const Generation cut = generate(engine, &tokenizer, prompt, options, collect);
  EXPECT_EQ(cut.reason, FinishReason::stop);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(options.stop[0])));
  EXPECT_EQ(streamed, cut.text);
}

TEST(Generate, CanBeCancelled) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.context = 64});
  int calls = 0;
  const Generation out = generate(engine, nullptr, {1, 2}, {.max_tokens = 50},
                                  [&](int32_t, std::string_view) { return ++calls < 3; });
  EXPECT_EQ(out.tokens.size(), 3u);
  EXPECT_EQ(out.reason, FinishReason::cancelled);
}

TEST(Generate, RefusesWhatCannotBe) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.context = 8});
  EXPECT_THROW(generate(engine, nullptr, {}, {}), Error);
  EXPECT_THROW(generate(engine, nullptr, {512}, {}), Error);
  EXPECT_THROW(generate(engine, nullptr, {-1}, {}), Error);
  EXPECT_THROW(generate(engine, nullptr, random_ids(8, 512), {}), Error);
  EXPECT_THROW(generate(engine, nullptr, {1}, {.stop = {"x"}}), Error);
}

TEST(Generate, RealWeightsGiveTheRecordedTokens) {
  const char* shared = std::getenv("UM_SHARED");
  const fs::path directory =
      (shared != nullptr ? fs::path(shared) : fs::path(UM_SOURCE_DIR) / ".." / "shared") /
      "models" / "stories260K";
  if (!fs::exists(directory / "model.safetensors"))
    GTEST_SKIP() << directory << " is not here (set UM_SHARED)";
  const auto expected = nlohmann::json::parse(read_file(directory / "expected.json"));
  const auto greedy_ids = expected.at("greedy").get<std::vector<int32_t>>();
  const auto model = load_model(directory, cpu_device());
  CachedSequence sequence(*model, 512);
  Engine engine(*model, {.context = 512});
  const auto prompt = expected.at("prompt").get<std::vector<int32_t>>();
  const std::vector<float> logits = sequence.append(prompt);
  const auto first = expected.at("first_logits").get<std::vector<float>>();
  for (size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(logits[i], first[i], 1e-3f);
  const Generation out =
      generate(engine, nullptr, prompt,
               {.sampling = {.temperature = 0}, .max_tokens = std::ssize(greedy_ids)});
  EXPECT_EQ(out.tokens, greedy_ids);
}

}  // namespace
}  // namespace um
