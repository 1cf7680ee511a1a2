// Scores of a given text against its logits.
#include "engine/score.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

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
  EXPECT_TRUE(score_tokens(*model, std::vector<int32_t>{}, 0).empty());
}

}  // namespace
}  // namespace um
