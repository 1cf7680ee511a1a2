// The choice of tokens behind drafts: the tokens of plain sampling, in the model's distribution.
#include "engine/step.h"

#include <gtest/gtest.h>

#include <cmath>

namespace um {
namespace {

constexpr size_t kVocab = 6;
const std::vector<float> kLogits = {0.5f, -1.0f, 1.5f, 0.0f, 2.0f, -0.5f};

struct NoSink : RequestSink {
  size_t on_tokens(std::span<const TokenOutput> tokens) override { return tokens.size(); }
  void on_finish(FinishReason, const RequestStats&, std::string_view) override {}
};

std::vector<int32_t> choose(uint64_t seed, const std::vector<int32_t>& drafts) {
  ActiveRequest request(1, {.prompt = {0}, .seed = seed}, std::make_shared<NoSink>(), kVocab);
  request.drafts = drafts;
  std::vector<float> logits;
  for (size_t i = 0; i <= drafts.size(); ++i)
    logits.insert(logits.end(), kLogits.begin(), kLogits.end());
  std::vector<TokenOutput> outputs;
  choose_tokens(request, logits, outputs);
  std::vector<int32_t> tokens;
  for (const TokenOutput& output : outputs) tokens.push_back(output.id);
  return tokens;
}

TEST(ChooseTokens, GoesOnUntilADraftIsWrong) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<int32_t> tokens = choose(seed, {4, 2});
    size_t right = 0;
    while (right < 2 && tokens[right] == (right == 0 ? 4 : 2)) ++right;
    EXPECT_EQ(tokens.size(), right + 1);
  }
}

TEST(ChooseTokens, DraftsDoNotChangeTheFirstToken) {
  for (uint64_t seed = 0; seed < 200; ++seed)
    for (int32_t draft = 0; draft < static_cast<int32_t>(kVocab); ++draft)
      EXPECT_EQ(choose(seed, {draft})[0], choose(seed, {})[0]);
}

/// Pearson's test of the first and second tokens of many seeds against the softmax: speculation is
/// exact sampling (the acceptance rule of Leviathan et al. 2023 for certain drafts).
TEST(ChooseTokens, SpeculativeTokensHaveTheModelsDistribution) {
  double total = 0;
  for (const float logit : kLogits) total += std::exp(static_cast<double>(logit));
  for (const size_t place : {0u, 1u}) {
    std::vector<double> counts(kVocab);
    double n = 0;
    for (uint64_t seed = 0; seed < 40000; ++seed) {
      const std::vector<int32_t> tokens = choose(seed, {4});
      if (tokens.size() <= place) continue;
      counts[static_cast<size_t>(tokens[place])] += 1;
      n += 1;
    }
    double chi = 0;
    for (size_t id = 0; id < kVocab; ++id) {
      const double expected = n * std::exp(static_cast<double>(kLogits[id])) / total;
      chi += (counts[id] - expected) * (counts[id] - expected) / expected;
    }
    EXPECT_LT(chi, 20.5) << "5 degrees of freedom: 1 in 1,000; token " << place;
    EXPECT_GT(n, 10000);
  }
}

}  // namespace
}  // namespace um
