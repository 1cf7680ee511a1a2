// The router: rules by hand, backends against the reference, gradients, counts, hostile logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

// Logits that are far enough apart for finite steps to leave the choice alone: a shuffled curve per
// token (not a ramp, so that sums of two differ as well).
std::vector<float> spread_logits(OpHarness& h, int64_t tokens, int64_t experts) {
  std::vector<float> logits;
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<float> row(static_cast<size_t>(experts));
    for (int64_t e = 0; e < experts; ++e)
      row[e] = 4.0f * std::sqrt(static_cast<float>(e) / experts) - 2.0f;
    std::shuffle(row.begin(), row.end(), h.random());
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

struct Case {
  OpHarness h;
  Router forward;
  RouterGrad backward;
  Case(int64_t tokens, int64_t experts, int64_t top_k, RouterRule rule, bool bias = true,
       bool scale = true)
      : h(static_cast<uint64_t>(experts)) {
    forward = {.tokens = tokens,
               .experts = experts,
               .top_k = top_k,
               .rule = rule,
               .logits = h.input(spread_logits(h, tokens, experts)),
               .bias = bias ? h.input(experts, 0.05f) : nullptr,
               .expert_scale = scale ? h.input(experts, 0.2f, 1) : nullptr,
               .scores = h.output(tokens * experts),
               .ids = h.output_i32(tokens * top_k),
               .weights = h.output(tokens * top_k),
               .counts = h.output_i64(experts)};
    std::vector<int32_t> sequence(static_cast<size_t>(tokens));
    for (int64_t t = 0; t < tokens; ++t) sequence[t] = static_cast<int32_t>(t % 3);
    backward = {.tokens = tokens,
                .experts = experts,
                .top_k = top_k,
                .rule = rule,
                .scores = forward.scores,
                .ids = forward.ids,
                .expert_scale = forward.expert_scale,
                .dweights = h.input(tokens * top_k),
                .balance = h.input(3 * experts),
                .balance_stride = experts,
                .sequence_of = h.input(sequence),
                .dlogits = h.output(tokens * experts),
                .dexpert_scale = h.output(experts),
                .accumulate_dexpert_scale = tokens % 2 == 0};
  }
  void run(const Kernels& k) const {
    k.router(forward);
    k.router_grad(backward);
  }
};

const RouterRule kPangu{.scaling_factor = 2.5f};
const RouterRule kMoge{.sigmoid = false, .normalize = false, .groups = 4};
const RouterRule kDeepSeekV3{.scaling_factor = 2.5f, .groups = 4, .limit_groups = 2};
const RouterRule kDeepSeekV2{
    .sigmoid = false, .normalize = false, .scaling_factor = 16, .groups = 4, .limit_groups = 2};

TEST(RouterKernel, Parity) {
  for (const RouterRule& rule : {kPangu, kMoge, kDeepSeekV3, kDeepSeekV2}) {
    for (int64_t experts : {8, 12, 16, 20, 36, 64, 100, 256, 512}) {
      for (int64_t tokens : {0, 1, 70}) {
        SCOPED_TRACE(testing::Message() << rule.sigmoid << rule.groups << rule.limit_groups << ": "
                                        << tokens << " x " << experts);
        Case c(tokens, experts, 4, rule, experts % 3, experts % 5);
        c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 3e-6, 0.01);
      }
    }
  }
}

TEST(RouterKernel, OddSizesAndTies) {
  for (int64_t experts : {1, 3, 15, 16, 17, 33}) {
    Case c(5, experts, (experts + 1) / 2, kPangu, false);
    c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 3e-6, 0.1);
    OpHarness h;
    Router ties = c.forward;
    ties.tokens = 1;
    ties.logits = h.input(experts, 0, 0.25f);
    c.h.expect_parity([&](const Kernels& k) { k.router(ties); });
    for (int64_t i = 0; i < ties.top_k; ++i) EXPECT_EQ(ties.ids[i], i);
  }
}

TEST(RouterKernel, RulesByHand) {
  OpHarness h;
  const float* logits = h.input(std::vector<float>{5, 4, -1, -2, 3, 2, 1, 4.5f});
  Router a{.tokens = 1,
           .experts = 8,
           .top_k = 2,
           .rule = {},
           .logits = logits,
           .scores = h.output(8),
           .ids = h.output_i32(4),
           .weights = h.output(4),
           .counts = h.output_i64(8)};
  auto ids = [&](RouterRule rule, int64_t top_k, const float* bias = nullptr) {
    a.rule = rule, a.top_k = top_k, a.bias = bias;
    h.expect_parity([&](const Kernels& k) { k.router(a); });
    return std::vector<int32_t>(a.ids, a.ids + top_k);
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(ids({}, 3), (Ids{0, 7, 1}));
  EXPECT_EQ(ids({.sigmoid = false}, 3), (Ids{0, 7, 1}));
  EXPECT_EQ(ids({.groups = 4}, 4), (Ids{0, 2, 4, 7}));  // MoGE: one of each pair
  EXPECT_EQ(ids({.groups = 2}, 4), (Ids{0, 1, 7, 4}));  // MoGE: two of each half
  EXPECT_EQ(ids({.groups = 4, .limit_groups = 2}, 2), (Ids{0, 1}));
  // By the best member the groups are {0,1}, {6,7}; by the sum of two: {0,1}, {4,5}.
  EXPECT_EQ(ids({.sigmoid = false, .groups = 4, .limit_groups = 2}, 3), (Ids{0, 7, 1}));
  EXPECT_EQ(ids({.groups = 4, .limit_groups = 2}, 3), (Ids{0, 1, 4}));
  // The bias moves the choice but not the weight.
  const float* bias = h.input(std::vector<float>{0, 0, 9, 0, 0, 0, 0, 0});
  EXPECT_EQ(ids({.normalize = false, .scaling_factor = 2}, 2, bias), (Ids{2, 0}));
  EXPECT_NEAR(a.weights[0], 2 / (1 + std::exp(1.0)), 1e-6);
  EXPECT_EQ(a.counts[2], 1);
  EXPECT_EQ(a.counts[1], 0);
  EXPECT_EQ(ids({.scaling_factor = 2.5f}, 3), (Ids{0, 7, 1}));
  EXPECT_NEAR(a.weights[0] + a.weights[1] + a.weights[2], 2.5, 1e-6);
}

TEST(RouterKernel, HostileLogitsGiveValidIds) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  for (const RouterRule& rule : {kPangu, kMoge, kDeepSeekV3, kDeepSeekV2}) {
    for (const std::vector<float>& pattern :
         {std::vector<float>{nan}, {inf}, {-inf}, {nan, 1, inf, -inf, 3}, {3e38f, -3e38f}}) {
      Case c(6, 36, 8, rule);
      std::vector<float> logits;
      for (size_t i = 0; i < 6 * 36; ++i) logits.push_back(pattern[i % pattern.size()]);
      c.forward.logits = c.h.input(logits);
      auto check = [&](const Kernels& k) {
        k.router(c.forward);
        for (int64_t t = 0; t < 6; ++t) {
          const int32_t* ids = c.forward.ids + t * 8;
          EXPECT_EQ(std::set<int32_t>(ids, ids + 8).size(), 8u) << k.name;
          EXPECT_TRUE(std::all_of(ids, ids + 8, [](int32_t e) { return e >= 0 && e < 36; }));
        }
        EXPECT_EQ(std::accumulate(c.forward.counts, c.forward.counts + 36, int64_t{0}), 48);
      };
      c.h.expect_same_bits_for_threads(check);
    }
  }
}

// Both outputs of the router that carry gradient: the weights, and p of the balance loss.
TEST(RouterKernel, Gradient) {
  for (RouterRule rule : {kPangu, kMoge, kDeepSeekV3, kDeepSeekV2}) {
    for (bool normalize : {true, false}) {
      SCOPED_TRACE(testing::Message() << rule.sigmoid << rule.groups << normalize);
      rule.normalize = normalize;
      rule.scaling_factor = 1.5f;
      const int64_t tokens = 5, experts = 12;
      Case c(tokens, experts, 4, rule, false);
      c.backward.accumulate_dexpert_scale = false;
      float* p = c.h.output(tokens * experts);
      float* dp = c.h.input(tokens * experts);
      std::vector<int32_t> own(tokens);
      std::iota(own.begin(), own.end(), 0);
      c.backward.sequence_of = c.h.input(own);
      c.backward.balance = dp;
      auto forward = [&](const Kernels& k) {
        k.router(c.forward);
        for (int64_t t = 0; t < tokens; ++t) {
          const float* s = c.forward.scores + t * experts;
          const float sum = rule.sigmoid ? std::accumulate(s, s + experts, 0.0f) : 1.0f;
          for (int64_t e = 0; e < experts; ++e) p[t * experts + e] = s[e] / sum;
        }
      };
      c.h.expect_gradient(
          forward, [&](const Kernels& k) { k.router_grad(c.backward); },
          {{c.forward.logits, c.backward.dlogits, tokens * experts},
           {c.forward.expert_scale, c.backward.dexpert_scale, experts}},
          {{c.forward.weights, c.backward.dweights, tokens * 4}, {p, dp, tokens * experts}}, 1e-3,
          0.002);
    }
  }
}

/// `tokens` rows of `top_k` different experts, whatever the router thinks of them.
std::vector<int32_t> other_choice(int64_t tokens, int64_t experts, int64_t top_k) {
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t k = 0; k < top_k; ++k)
      ids.push_back(static_cast<int32_t>((3 * t + 5 * (top_k - k)) % experts));
  return ids;
}

// Given experts in place of the choice: theirs are the scores, weights and counts.
TEST(RouterKernel, TakesGivenExperts) {
  for (const RouterRule& rule : {kPangu, kMoge, kDeepSeekV3, kDeepSeekV2}) {
    for (int64_t experts : {12, 36, 64}) {
      SCOPED_TRACE(testing::Message() << rule.sigmoid << rule.groups << ": " << experts);
      Case c(70, experts, 4, rule);
      const std::vector<int32_t> given = other_choice(70, experts, 4);
      c.forward.chosen = c.h.input(given);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 3e-6, 0.01);
      c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
      EXPECT_EQ(std::vector<int32_t>(c.forward.ids, c.forward.ids + given.size()), given);
      for (int64_t e = 0; e < experts; ++e)
        EXPECT_EQ(c.forward.counts[e], std::ranges::count(given, static_cast<int32_t>(e)));
    }
  }
}

// Its own choice given back changes no bit.
TEST(RouterKernel, ItsOwnExpertsGivenBack) {
  for (const RouterRule& rule : {kPangu, kMoge, kDeepSeekV3, kDeepSeekV2}) {
    Case c(33, 36, 4, rule);
    const auto check = [&](const Kernels& k) {
      const auto weights = [&](const int32_t* chosen) {
        c.forward.chosen = chosen;
        k.router(c.forward);
        return std::vector<float>(c.forward.weights, c.forward.weights + 33 * 4);
      };
      const std::vector<float> free = weights(nullptr);
      const std::vector<int32_t> ids(c.forward.ids, c.forward.ids + 33 * 4);
      EXPECT_EQ(weights(ids.data()), free) << k.name;
    };
    c.h.expect_same_bits_for_threads(check);
  }
}

// The given experts' weights, by finite differences of the logits.
TEST(RouterKernel, GradientOfGivenExperts) {
  for (RouterRule rule : {kPangu, kMoge, kDeepSeekV3, kDeepSeekV2}) {
    for (bool normalize : {true, false}) {
      SCOPED_TRACE(testing::Message() << rule.sigmoid << rule.groups << normalize);
      rule.normalize = normalize;
      rule.scaling_factor = 1.5f;
      const int64_t tokens = 5, experts = 12;
      Case c(tokens, experts, 4, rule);
      c.forward.chosen = c.h.input(other_choice(tokens, experts, 4));
      c.backward.accumulate_dexpert_scale = false;
      c.backward.balance = nullptr;
      c.h.expect_gradient([&](const Kernels& k) { k.router(c.forward); },
                          [&](const Kernels& k) { k.router_grad(c.backward); },
                          {{c.forward.logits, c.backward.dlogits, tokens * experts},
                           {c.forward.expert_scale, c.backward.dexpert_scale, experts}},
                          {{c.forward.weights, c.backward.dweights, tokens * 4}}, 1e-3, 0.002);
    }
  }
}

TEST(RouterKernel, MissingArrays) {
  for (const RouterRule& rule : {kPangu, kMoge}) {
    for (int missing = 0; missing < 6; ++missing) {
      Case c(70, 36, 4, rule);
      if (missing == 0) c.backward.dweights = nullptr;
      if (missing == 1) c.backward.balance = nullptr;
      if (missing == 2) c.backward.dlogits = nullptr;
      if (missing == 3) c.backward.dexpert_scale = nullptr;
      if (missing == 4) c.backward.balance_stride = 0, c.backward.sequence_of = nullptr;
      if (missing == 5) c.backward.dweights = c.backward.balance = nullptr;
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 3e-6, 0.01);
      c.forward.scores = nullptr;
      c.forward.counts = nullptr;
      c.h.expect_parity([&](const Kernels& k) { k.router(c.forward); }, 3e-6);
    }
  }
}

TEST(RouterKernel, Bits) {
  for (const RouterRule& rule : {kPangu, kMoge}) {
    Case c(200, 100, 8, rule);
    c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
    c.h.expect_rows_independent(200, [&](const Kernels& k, int64_t first, int64_t count) {
      Router f = c.forward;
      f.tokens = count;
      f.logits += first * 100, f.scores += first * 100, f.ids += first * 8;
      f.weights += first * 8, f.counts = nullptr;
      k.router(f);
      RouterGrad b = c.backward;
      b.tokens = count;
      b.scores += first * 100, b.ids += first * 8, b.dweights += first * 8;
      b.sequence_of += first, b.dlogits += first * 100, b.dexpert_scale = nullptr;
      k.router_grad(b);
    });
  }
}

TEST(BalanceStatsKernel, ByHand) {
  OpHarness h;
  BalanceStats a{.tokens = 3,
                 .experts = 2,
                 .top_k = 1,
                 .sequences = 3,
                 .normalize = true,
                 .scores = h.input(std::vector<float>{0.25f, 0.75f, 1, 1, 0.5f, 1.5f}),
                 .ids = h.input(std::vector<int32_t>{1, 0, 1}),
                 .sequence_of = h.input(std::vector<int32_t>{0, 2, 0}),
                 .score_sums = h.output_f64(6),
                 .counts = h.output_i64(6)};
  h.expect_parity([&](const Kernels& k) { k.balance_stats(a); }, 1e-12);
  EXPECT_EQ(std::vector<int64_t>(a.counts, a.counts + 6), (std::vector<int64_t>{0, 2, 0, 0, 1, 0}));
  const std::vector<double> sums{0.5, 1.5, 0, 0, 0.5, 0.5};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(a.score_sums[i], sums[i], 1e-12);
}

TEST(BalanceStatsKernel, ParityAndBits) {
  for (int64_t experts : {1, 16, 33, 100}) {
    for (int64_t tokens : {0, 1, 500}) {
      for (bool flag : {false, true}) {
        OpHarness h;
        const BalanceStats a{.tokens = tokens,
                             .experts = experts,
                             .top_k = 2,
                             .sequences = flag ? 4 : 1,
                             .normalize = flag,
                             .scores = h.input(tokens * experts, 0.1f, 0.5f),
                             .ids = h.random_ids(tokens * 2, experts),
                             .sequence_of = flag ? h.random_ids(tokens, 4) : nullptr,
                             .score_sums = h.output_f64(4 * experts),
                             .counts = h.output_i64(4 * experts)};
        h.expect_parity([&](const Kernels& k) { k.balance_stats(a); }, 1e-12);
        h.expect_same_bits_for_threads([&](const Kernels& k) { k.balance_stats(a); });
      }
    }
  }
}

}  // namespace
}  // namespace um::test
