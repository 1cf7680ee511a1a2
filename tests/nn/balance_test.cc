// The balance loss: every scope's value and coefficients against the formula written out, splitting
// a step, and how uneven a fair router looks (docs/moe.md).
#include "nn/balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "ops/devices.h"

namespace um {
namespace {

struct Drawn {
  Ragged rows;
  Routing routing;
  std::vector<std::vector<int64_t>> ids;  ///< [T][K]
  std::vector<std::vector<double>> p;     ///< [T][E] scores, divided by their sum if sigmoid
  std::vector<int64_t> sequence_of;       ///< [T]
  int64_t tokens() const { return static_cast<int64_t>(p.size()); }
};

constexpr int64_t kExperts = 8, kTopK = 2;

/// A micro-batch of sequences of these lengths with random logits.
Drawn draw(const std::vector<int64_t>& lengths, uint64_t seed, bool sigmoid = true,
           int64_t experts = kExperts, int64_t top_k = kTopK) {
  Device& device = cpu_device("ref");
  std::vector<int64_t> offsets{0};
  Drawn out;
  for (size_t s = 0; s < lengths.size(); ++s) {
    offsets.push_back(offsets.back() + lengths[s]);
    for (int64_t t = 0; t < lengths[s]; ++t) out.sequence_of.push_back(static_cast<int64_t>(s));
  }
  out.rows = Ragged::full(device, offsets);
  const int64_t tokens = offsets.back();
  const RandomStream random(seed, 0);
  std::vector<float> logits(static_cast<size_t>(tokens * experts));
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(random.normal(i));
  out.routing = route(Tensor::from(device, {tokens, experts}, std::span<const float>(logits)), {},
                      {}, {.sigmoid = sigmoid}, top_k, out.rows, nullptr);
  const std::vector<float> scores = out.routing.scores.to_vector();
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t* ids = out.routing.ids.i32() + t * top_k;
    out.ids.emplace_back(ids, ids + top_k);
    std::vector<double> p(scores.begin() + t * experts, scores.begin() + (t + 1) * experts);
    double sum = 0;
    for (const double score : p) sum += score;
    for (double& score : p) score /= sigmoid ? sum : 1.0;
    out.p.push_back(std::move(p));
  }
  return out;
}

struct Direct {
  double loss = 0;
  std::vector<double> fractions;  ///< f_i
};

/// Σ f_i p_i over the given tokens of several micro-batches: the definition, term by term.
Direct direct(const std::vector<Drawn>& batches,
              const std::function<bool(size_t batch, int64_t token)>& in_scope) {
  Direct out;
  out.fractions.assign(kExperts, 0.0);
  std::vector<double> mean(kExperts, 0.0);
  double tokens = 0;
  for (size_t b = 0; b < batches.size(); ++b)
    for (int64_t t = 0; t < batches[b].tokens(); ++t) {
      if (!in_scope(b, t)) continue;
      ++tokens;
      for (const int64_t id : batches[b].ids[static_cast<size_t>(t)])
        out.fractions[static_cast<size_t>(id)] += 1;
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += batches[b].p[static_cast<size_t>(t)][i];
    }
  for (size_t i = 0; i < mean.size(); ++i) {
    out.fractions[i] *= static_cast<double>(kExperts) / (static_cast<double>(kTopK) * tokens);
    out.loss += out.fractions[i] * mean[i] / tokens;
  }
  return out;
}

struct Observed {
  double value = 0;
  std::vector<std::vector<float>> coefficients;  ///< per micro-batch
};

constexpr double kAlpha = 0.5;
constexpr int64_t kLayers = 3, kLossLayers = 2;

/// Runs the batches through layer 0 of three, of which two share the loss.
Observed observe(BalanceScope scope, const std::vector<Drawn>& batches, bool sigmoid = true,
                 double alpha = kAlpha) {
  BalanceLoss balance(scope, alpha, kLayers, kLossLayers);
  int64_t tokens = 0;
  for (const Drawn& batch : batches) tokens += batch.tokens();
  balance.begin_step(tokens);
  std::vector<std::shared_ptr<BalanceTerm>> terms;
  for (const Drawn& batch : batches) {
    terms.push_back(balance.term(0));
    terms.back()->device = &cpu_device("ref");  // as route() does
    for (int times = 0; times < 2; ++times)     // a recomputed forward counts once
      balance.observe(0, batch.routing, batch.rows, sigmoid, terms.back());
  }
  balance.finish();
  Observed out;
  out.value = balance.loads()[0].loss;
  EXPECT_DOUBLE_EQ(balance.value(), out.value / kLossLayers);
  for (const auto& term : terms)
    out.coefficients.push_back(term->coefficients ? term->coefficients.to_vector()
                                                  : std::vector<float>());
  return out;
}

void expect_coefficients(const float* got, const Direct& expected, double tokens) {
  for (size_t i = 0; i < expected.fractions.size(); ++i)
    EXPECT_NEAR(got[i], kAlpha * expected.fractions[i] / tokens / kLossLayers, 1e-7) << i;
}

const std::vector<std::vector<int64_t>> kLengths = {{5, 1, 9}, {20}, {3, 3}};

std::vector<Drawn> micro_batches(bool sigmoid = true) {
  std::vector<Drawn> batches;
  for (size_t b = 0; b < kLengths.size(); ++b) batches.push_back(draw(kLengths[b], b, sigmoid));
  return batches;
}
constexpr double kTokens = 41;

TEST(BalanceTest, StepScopesAreTheFormulaOverAllTokens) {
  for (const BalanceScope scope : {BalanceScope::ep_group, BalanceScope::global})
    for (const bool sigmoid : {true, false}) {
      const auto batches = micro_batches(sigmoid);
      const Direct expected = direct(batches, [](size_t, int64_t) { return true; });
      const Observed got = observe(scope, batches, sigmoid);
      EXPECT_NEAR(got.value, expected.loss, 1e-6);
      for (const auto& coefficients : got.coefficients) {
        ASSERT_EQ(coefficients.size(), static_cast<size_t>(kExperts));
        expect_coefficients(coefficients.data(), expected, kTokens);
      }
    }
}

TEST(BalanceTest, MicroBatchScopeIsTheMeanOfTheirLosses) {
  const auto batches = micro_batches();
  const Observed got = observe(BalanceScope::micro_batch, batches);
  double mean = 0;
  for (size_t b = 0; b < batches.size(); ++b) {
    const Direct part = direct(batches, [b](size_t batch, int64_t) { return batch == b; });
    mean += part.loss * static_cast<double>(batches[b].tokens()) / kTokens;
    ASSERT_EQ(got.coefficients[b].size(), static_cast<size_t>(kExperts));
    expect_coefficients(got.coefficients[b].data(), part, kTokens);
  }
  EXPECT_NEAR(got.value, mean, 1e-6);
}

TEST(BalanceTest, SequenceScopeIsTheMeanOfTheirLosses) {
  const auto batches = micro_batches();
  const Observed got = observe(BalanceScope::sequence, batches);
  double mean = 0;
  for (size_t b = 0; b < batches.size(); ++b) {
    ASSERT_EQ(got.coefficients[b].size(), kLengths[b].size() * kExperts);
    for (size_t s = 0; s < kLengths[b].size(); ++s) {
      const Direct part = direct(batches, [&](size_t batch, int64_t t) {
        return batch == b &&
               batches[b].sequence_of[static_cast<size_t>(t)] == static_cast<int64_t>(s);
      });
      mean += part.loss * static_cast<double>(kLengths[b][s]) / kTokens;
      expect_coefficients(got.coefficients[b].data() + s * kExperts, part, kTokens);
    }
  }
  EXPECT_NEAR(got.value, mean, 1e-6);
}

TEST(BalanceTest, CoefficientsAreTheGradientOfTheLoss) {
  // With the choice held, d loss / d p_i(t) is the coefficient over alpha: sum it up again.
  const auto batches = micro_batches();
  for (const BalanceScope scope :
       {BalanceScope::sequence, BalanceScope::micro_batch, BalanceScope::ep_group}) {
    const Observed got = observe(scope, batches);
    double sum = 0;
    for (size_t b = 0; b < batches.size(); ++b)
      for (size_t t = 0; t < batches[b].p.size(); ++t)
        for (size_t i = 0; i < kExperts; ++i) {
          const auto row = scope == BalanceScope::sequence
                               ? static_cast<size_t>(batches[b].sequence_of[t]) * kExperts
                               : 0;
          sum += static_cast<double>(got.coefficients[b][row + i]) * batches[b].p[t][i];
        }
    EXPECT_NEAR(sum, kAlpha * got.value / kLossLayers, 1e-6);
  }
}

TEST(BalanceTest, NoLossWithoutWeightOrForLayersBeyond) {
  const auto batches = micro_batches();
  for (const BalanceScope scope : {BalanceScope::none, BalanceScope::bias})
    for (const auto& coefficients : observe(scope, batches).coefficients)
      EXPECT_TRUE(coefficients.empty());
  const Observed free = observe(BalanceScope::ep_group, batches, true, 0.0);
  EXPECT_TRUE(free.coefficients[0].empty());
  EXPECT_GT(free.value, 0.5);  // still measured
  BalanceLoss balance(BalanceScope::ep_group, kAlpha, kLayers, kLossLayers);
  EXPECT_TRUE(balance.term(1)->wanted);
  EXPECT_FALSE(balance.term(2)->wanted);
}

TEST(BalanceTest, LoadsCountEveryAssignmentOfTheStep) {
  const auto batches = micro_batches();
  BalanceLoss balance(BalanceScope::bias, 0, 1, 1);
  for (int step = 0; step < 2; ++step) {  // a new step begins from nothing
    balance.begin_step(static_cast<int64_t>(kTokens));
    std::vector<int64_t> expected(kExperts);
    for (const Drawn& batch : batches) {
      balance.observe(0, batch.routing, batch.rows, true, balance.term(0));
      for (const auto& ids : batch.ids)
        for (const int64_t id : ids) ++expected[static_cast<size_t>(id)];
    }
    EXPECT_EQ(balance.loads()[0].counts, expected);
  }
}

TEST(BalanceTest, BiasMovesAgainstTheLoad) {
  const Tensor bias = Tensor::zeros(cpu_device("ref"), {4});
  update_router_bias(bias, {10, 2, 6, 6}, 0.25);
  EXPECT_EQ(bias.to_vector(), (std::vector<float>{-0.25f, 0.25f, 0, 0}));
  update_router_bias(bias, {0, 0, 0, 0}, 0.25);
  EXPECT_EQ(bias.to_vector(), (std::vector<float>{-0.25f, 0.25f, 0, 0}));
}

TEST(BalanceTest, NamesOfScopes) {
  EXPECT_EQ(balance_scope_from_name("ep_group"), BalanceScope::ep_group);
  EXPECT_THROW(balance_scope_from_name("group"), UsageError);
}

/// A perfectly fair router still looks uneven over few tokens: the mean over draws of max f_i.
TEST(BalanceTest, NoiseFloorOfAFairRouter) {
  struct Point {
    int64_t tokens;
    double max_fraction;
    int draws;
  };
  for (const Point& point :
       {Point{128, 2.50, 24}, Point{512, 1.69, 12}, Point{2048, 1.33, 6}, Point{8192, 1.19, 2}}) {
    double mean = 0;
    for (int i = 0; i < point.draws; ++i) {
      const Drawn fair = draw({point.tokens}, 1000 + static_cast<uint64_t>(i), true, 256, 8);
      BalanceLoss balance(BalanceScope::micro_batch, 0.01, 1, 1);
      balance.begin_step(point.tokens);
      balance.observe(0, fair.routing, fair.rows, true, balance.term(0));
      const auto& counts = balance.loads()[0].counts;
      mean += 256.0 / (8.0 * static_cast<double>(point.tokens)) *
              static_cast<double>(*std::max_element(counts.begin(), counts.end())) / point.draws;
    }
    EXPECT_NEAR(mean, point.max_fraction, 0.05 * point.max_fraction) << point.tokens;
  }
}

}  // namespace
}  // namespace um
