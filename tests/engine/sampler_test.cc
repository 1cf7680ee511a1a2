// The sampler: which tokens are kept, how often each is drawn, and what it refuses.
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

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

TEST(Sampler, TypicalKeepsTokensOfTheExpectedSurprise) {
  // Entropy 1.415; the surprises are 2.30, 0.92, 3.00, 1.39, 1.61: nearest first 3, 4, 1, 0, 2.
  EXPECT_EQ(kept_ids(kLogits, {.typical_p = 0.2}), (Ids{3}));
  EXPECT_EQ(kept_ids(kLogits, {.typical_p = 0.45 - 1e-6}), (Ids{3, 4}));
  EXPECT_EQ(kept_ids(kLogits, {.typical_p = 0.8}), (Ids{1, 3, 4}));
  EXPECT_EQ(kept_ids(kLogits, {.top_k = 1, .typical_p = 0.2}), (Ids{1})) << "after top-k";
  double total = 0;
  for (const auto& c : candidates(kLogits, {.typical_p = 0.8})) total += c.probability;
  EXPECT_NEAR(total, 1, 1e-12);
}

/// 3,000 logits with ties and some -infinity.
std::vector<float> many_logits() {
  const RandomStream random(3, 9);
  std::vector<float> logits(3000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = i % 11 == 0 ? -std::numeric_limits<float>::infinity()
                            : std::round(static_cast<float>(random.normal(i)) * 8) / 4;
  return logits;
}

TEST(Sampler, LargestMatchAFullSort) {
  const std::vector<float> logits = many_logits();
  Ids order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  EXPECT_EQ(greedy(logits), order[0]);
  for (const int64_t k : {1, 2, 7, 46, 47, 48, 700, 2000}) {
    const auto kept = candidates(logits, {.top_k = k});
    ASSERT_EQ(std::ssize(kept), k);
    for (size_t i = 0; i < kept.size(); ++i) ASSERT_EQ(kept[i].id, order[i]) << k << " " << i;
  }
}

TEST(Sampler, ProbabilitiesMatchDoublePrecision) {
  const std::vector<float> logits = many_logits();
  for (const double temperature : {0.3, 1.0, 2.5}) {
    double total = 0;
    for (const float x : logits) total += std::exp(static_cast<double>(x) / temperature);
    for (const Candidate& c : candidates(logits, {.temperature = temperature})) {
      const double want =
          std::exp(static_cast<double>(logits[static_cast<size_t>(c.id)]) / temperature) / total;
      ASSERT_NEAR(c.probability / want, 1, 1e-5);
    }
  }
  const double log_sum = log_sum_exp(logits);
  double total = 0;
  for (const float x : logits) total += std::exp(static_cast<double>(x));
  EXPECT_NEAR(log_sum, std::log(total), 1e-6);
  EXPECT_FLOAT_EQ(log_probability(logits, 5), static_cast<float>(logits[5] - log_sum));
  EXPECT_EQ(log_probability(logits, 0), -std::numeric_limits<float>::infinity());
  EXPECT_THROW(log_probability(logits, 3000), Error);
}

TEST(Sampler, TopLogprobs) {
  const double log_sum = log_sum_exp(kLogits);
  const auto top = top_logprobs(kLogits, 2, log_sum);
  ASSERT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_NEAR(top[0].logprob, std::log(0.4), 1e-6);
  EXPECT_EQ(top[1].id, 3);
  EXPECT_EQ(top_logprobs(kLogits, 0, log_sum).size(), 0u);
  EXPECT_EQ(top_logprobs(kLogits, 20, log_sum).size(), 5u);
}

TEST(Sampler, ExtremeTemperaturesAndLogits) {
  const RandomStream random(1, 1);
  const float least = std::numeric_limits<float>::lowest();
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(sample(kLogits, {.temperature = 1e-300}, random, i), 1);
    EXPECT_EQ(sample(std::vector<float>{least, 3e38f, least}, {}, random, i), 1);
    EXPECT_EQ(sample(std::vector<float>{0, -200, -300}, {.temperature = 0.5}, random, i), 0);
  }
}

/// Pearson's statistic of `draws` samples from 3,000 logits in cells of at least 20 expected draws,
/// minus its mean, in standard deviations.
double chi_square_excess(const std::vector<float>& logits, const SamplingOptions& options) {
  const int draws = 200000;
  const RandomStream random(17, 5);
  std::vector<double> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    counts[static_cast<size_t>(sample(logits, options, random, static_cast<uint64_t>(i)))] += 1;
  double statistic = 0, cells = 0, mean = 0, seen = 0, all = 0;
  for (const Candidate& c : candidates(logits, options)) {
    mean += c.probability * draws;
    seen += counts[static_cast<size_t>(c.id)];
    all += counts[static_cast<size_t>(c.id)];
    if (mean < 20) continue;
    statistic += (seen - mean) * (seen - mean) / mean;
    cells += 1;
    mean = seen = 0;
  }
  EXPECT_EQ(all, draws) << "a token was drawn that is not a candidate";
  return (statistic - (cells - 1)) / std::sqrt(2 * (cells - 1));
}

TEST(Sampler, DrawsFromALargeVocabularyFollowTheDistribution) {
  std::vector<float> logits = many_logits();
  logits.resize(300);
  EXPECT_LT(std::abs(chi_square_excess(logits, {})), 4);
  EXPECT_LT(std::abs(chi_square_excess(logits, {.temperature = 1.7, .min_p = 0.05})), 4);
  EXPECT_LT(std::abs(chi_square_excess(logits, {.top_k = 40, .top_p = 0.9})), 4);
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
  EXPECT_THROW(greedy(std::vector<float>{-infinity}), Error);
  EXPECT_THROW(sample(std::vector<float>{1, nan, 2}, {}, RandomStream(1, 1), 0), Error);
  std::vector<float> long_row(3000, 1.0f);
  long_row[2900] = nan;
  EXPECT_THROW(greedy(long_row), Error);
  EXPECT_THROW(log_sum_exp(long_row), Error);
  EXPECT_THROW(candidates(std::vector<float>{-infinity, -infinity}, {}), Error);
  EXPECT_EQ(kept_ids({-infinity, 0}, {}), Ids{1});
}

TEST(Sampler, RefusesSenselessOptions) {
  EXPECT_THROW(SamplingOptions{.temperature = -1}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.top_k = -1}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.top_p = 0}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.min_p = 1.5}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.typical_p = 0}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.repetition_penalty = 0}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.presence_penalty = 3}.check(), UsageError);
  EXPECT_THROW(SamplingOptions{.frequency_penalty = std::nan("")}.check(), UsageError);
  EXPECT_THROW((SamplingOptions{.logit_bias = {{3, std::nanf("")}}}.check()), UsageError);
}

}  // namespace
}  // namespace um
