// The sampler: which tokens are kept, how often each is drawn, and what it refuses.
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace um {
namespace {

/// Logits of the given probabilities.
std::vector<float> logits_of(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<int32_t> kept_ids(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<int32_t> ids;
  for (const Candidate& candidate : candidates(logits, options)) ids.push_back(candidate.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

using Ids = std::vector<int32_t>;
const std::vector<float> kLogits = logits_of({0.1, 0.4, 0.05, 0.25, 0.2});

TEST(Sampler, TopKKeepsTheMostLikely) {
  EXPECT_EQ(kept_ids(kLogits, {.top_k = 2}), (Ids{1, 3}));
  EXPECT_EQ(kept_ids(kLogits, {.top_k = 0}), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(kept_ids(kLogits, {.top_k = 99}), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(kept_ids({1, 1, 1, 1}, {.top_k = 2}), (Ids{0, 1})) << "lower ids win ties";
}

TEST(Sampler, TopPKeepsTheTokenThatCrosses) {
  EXPECT_EQ(kept_ids(kLogits, {.top_p = 0.5}), (Ids{1, 3}));
  EXPECT_EQ(kept_ids(kLogits, {.top_p = 0.7}), (Ids{1, 3, 4}));
  EXPECT_EQ(kept_ids(kLogits, {.top_p = 1e-6}), (Ids{1}));
  // After top-k the shares are of what is left: 0.4 / 0.85 and so on.
  EXPECT_EQ(kept_ids(kLogits, {.top_k = 3, .top_p = 0.5}), (Ids{1, 3}));
  EXPECT_EQ(kept_ids(kLogits, {.top_k = 3, .top_p = 0.45}), (Ids{1}));
}

TEST(Sampler, TopPOfALargeVocabularyGrowsItsSort) {
  const std::vector<float> flat(5000, 0.0f);
  EXPECT_EQ(kept_ids(flat, {.top_p = 0.9}).size(), 4500u);
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  EXPECT_EQ(kept_ids(kLogits, {.min_p = 0.45}), (Ids{1, 3, 4}));
  EXPECT_EQ(kept_ids(kLogits, {.min_p = 1.0}), (Ids{1}));
}

TEST(Sampler, TemperatureComesFirst) {
  // At temperature 0.5 probabilities are squared: 0.16 of 0.275 is more than half.
  EXPECT_EQ(kept_ids(kLogits, {.temperature = 0.5, .top_p = 0.5}), (Ids{1}));
  const auto cold = candidates(kLogits, {.temperature = 0.5});
  EXPECT_NEAR(cold[1].probability, 0.16 / 0.275, 1e-6);
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const SamplingOptions options{.temperature = 0.7, .top_k = 4, .min_p = 0.01};
  const auto expected = candidates(kLogits, options);
  const RandomStream random(11, 3);
  std::vector<double> counts(kLogits.size());
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i)
    counts[static_cast<size_t>(sample(kLogits, options, random, static_cast<uint64_t>(i)))] += 1;
  double chi_square = 0, drawn = 0;
  for (const Candidate& candidate : expected) {
    const double mean = candidate.probability * kDraws;
    const double off = counts[static_cast<size_t>(candidate.id)] - mean;
    chi_square += off * off / mean;
    drawn += counts[static_cast<size_t>(candidate.id)];
  }
  EXPECT_EQ(drawn, kDraws) << "a token that was not kept was drawn";
  EXPECT_LT(chi_square, 16.3);  // 3 degrees of freedom, one in a thousand
}

TEST(Sampler, SameSeedSameTokens) {
  const RandomStream a(5, 1), b(5, 1), c(6, 1);
  int differ = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(sample(kLogits, {}, a, i), sample(kLogits, {}, b, i));
    differ += sample(kLogits, {}, a, i) != sample(kLogits, {}, c, i);
  }
  EXPECT_GT(differ, 20);
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  EXPECT_EQ(greedy(std::vector<float>{1, 3, 3, 2}), 1);
  EXPECT_EQ(sample(std::vector<float>{1, 3, 3, 2}, {.temperature = 0}, RandomStream(1, 1), 0), 1);
}

TEST(Sampler, RefusesDamagedLogits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THROW(greedy(std::vector<float>{1, nan}), Error);
  EXPECT_THROW(greedy(std::vector<float>{}), Error);
  EXPECT_THROW(candidates(std::vector<float>{1, infinity}, {}), Error);
  EXPECT_THROW(candidates(std::vector<float>{-infinity, -infinity}, {}), Error);
  EXPECT_EQ(kept_ids({-infinity, 0}, {}), Ids{1});
}

TEST(Sampler, RefusesSenselessOptions) {
  EXPECT_THROW(SamplingOptions{.temperature = -1}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.top_k = -1}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.top_p = 0}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.min_p = 1.5}.check(), UsageError);
}

}  // namespace
}  // namespace um
