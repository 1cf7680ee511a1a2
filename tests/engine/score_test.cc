// Scores of a given text against its logits.
#include "engine/score.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

/// Keeps the rows that come.
struct Rows : PromptReader {
  void on_rows(int64_t begin, const Tensor& hidden) override {
    values.resize(static_cast<size_t>(begin * hidden.cols()));
    for (const float value : hidden.to_vector()) values.push_back(value);
    ++pieces;
  }
  std::vector<float> values;
  int pieces = 0;
};

struct Counter : RequestSink {
  size_t on_tokens(std::span<const TokenOutput> tokens) override {
    count += std::ssize(tokens);
    return tokens.size();
  }
  void on_finish(FinishReason why, const RequestStats& taken, std::string_view) override {
    finished = true;
    reason = why;
    stats = taken;
  }
  int64_t count = 0;
  bool finished = false;
  FinishReason reason = FinishReason::error;
  RequestStats stats;
};

std::shared_ptr<Counter> read(Engine& engine, const std::vector<int32_t>& ids,
                              std::shared_ptr<PromptReader> reader) {
  auto sink = std::make_shared<Counter>();
  engine.submit({.prompt = ids, .reader = std::move(reader)}, sink);
  return sink;
}

std::vector<TokenOutput> score_tokens(const Model& model, const std::vector<int32_t>& ids,
                                      int64_t top) {
  Engine engine(model, {});
  const auto reader = std::make_shared<TokenScores>(model, ids, top);
  read(engine, ids, reader);
  engine.run_until_idle();
  return reader->scores();
}

TEST(Score, EveryTokenHasTheLogprobOfItsLogits) {
  const auto model = random_model("nano-ultra");
  const auto vocab = static_cast<size_t>(model->config().vocab);
  const std::vector<int32_t> ids = random_ids(150, model->config().vocab);  // several blocks
  const std::vector<float> logits = full_logits(*model, ids);
  const std::vector<TokenOutput> scores = score_tokens(*model, ids, 3);
  ASSERT_EQ(scores.size(), ids.size());
  EXPECT_EQ(scores[0].logprob, 0);
  EXPECT_TRUE(scores[0].top.empty());
  for (size_t t = 0; t < ids.size(); ++t) {
    EXPECT_EQ(scores[t].id, ids[t]);
    if (t == 0) continue;
    const float* row = logits.data() + (t - 1) * vocab;
    double sum = 0;
    for (size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(row[v]));
    EXPECT_NEAR(scores[t].logprob, row[ids[t]] - std::log(sum), 1e-4) << t;
    ASSERT_EQ(scores[t].top.size(), 3u);
    EXPECT_EQ(scores[t].top[0].id, std::max_element(row, row + vocab) - row) << t;
    EXPECT_GE(scores[t].top[0].logprob, scores[t].top[1].logprob);
    EXPECT_GE(scores[t].top[2].logprob, std::log(1e-30));
  }
  EXPECT_EQ(score_tokens(*model, std::vector<int32_t>{7}, 0).size(), 1u);
}

TEST(Score, PiecesHaveTheBitsOfTheWholeText) {
  for (const char* preset : {"nano-ultra", "nano-openpangu2"}) {
    const auto model = random_model(preset);
    const std::vector<int32_t> ids = random_ids(200, model->config().vocab);
    const Ragged rows = Ragged::full(model->device(), std::vector<int64_t>{0, std::ssize(ids)});
    const Tensor tokens = Tensor::from(model->device(), {rows.rows}, std::span<const int32_t>(ids));
    const std::vector<float> whole = model->trunk(tokens, rows, {}).hidden.to_vector();
    Engine engine(*model, {.prefill_rows = 33});
    for (int i = 0; i < 2; ++i) {  // the second time all rows are in the prefix cache
      const auto reader = std::make_shared<Rows>();
      const auto sink = read(engine, ids, reader);
      engine.run_until_idle();
      EXPECT_EQ(reader->values, whole) << preset;
      EXPECT_EQ(reader->pieces, 7);
      EXPECT_TRUE(sink->finished);
      EXPECT_EQ(sink->reason, FinishReason::max_tokens);
      EXPECT_EQ(sink->count, 0);
      EXPECT_EQ(sink->stats.prompt_tokens, 200);
    }
  }
}

TEST(Score, OthersGoOnWhileALongTextIsRead) {
  const auto model = random_model("nano-ultra");
  Engine engine(*model, {.prefill_rows = 16, .draft_tokens = 0});
  const auto stream = std::make_shared<Counter>();
  engine.submit({.prompt = {1, 2, 3}, .max_tokens = 100}, stream);
  for (int i = 0; i < 3; ++i) engine.step();
  const auto sink = read(engine, random_ids(320, model->config().vocab), std::make_shared<Rows>());
  while (!sink->finished) {
    const int64_t before = stream->count;
    ASSERT_TRUE(engine.step());
    EXPECT_EQ(stream->count, before + 1);
  }
  EXPECT_GE(stream->count, 20);
}

}  // namespace
}  // namespace um
