// Statistics of evaluations against figures from elsewhere, and a table from known verdicts.
#include "tasks/statistics.h"

#include <gtest/gtest.h>

#include "tasks/report.h"

namespace um {
namespace {

/// scipy.stats.binomtest(k, n).proportion_ci(0.95, "wilson")
TEST(Statistics, WilsonInterval) {
  const auto expect = [](int64_t right, int64_t n, double low, double high) {
    const Interval found = wilson_interval(static_cast<double>(right) / static_cast<double>(n), n);
    EXPECT_NEAR(found.low, low, 1e-9) << right << " of " << n;
    EXPECT_NEAR(found.high, high, 1e-9) << right << " of " << n;
  };
  expect(0, 10, 0.000000000000, 0.277532799863);
  expect(10, 10, 0.722467200137, 1.000000000000);
  expect(7, 10, 0.396778147461, 0.892208732594);
  expect(87, 100, 0.790196485599, 0.922428325728);
  expect(1, 3, 0.061491944720, 0.792340399198);
  expect(500, 1000, 0.469069600368, 0.530930399632);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

/// By counting all sets of k of n samples.
TEST(Statistics, PassAtK) {
  for (int n = 1; n <= 8; ++n)
    for (int c = 0; c <= n; ++c)
      for (int k = 1; k <= n; ++k) {
        int sets = 0, with_right = 0;
        for (unsigned set = 0; set < 1u << n; ++set) {
          if (__builtin_popcount(set) != k) continue;
          ++sets;
          with_right += (set & ((1u << c) - 1)) != 0 ? 1 : 0;
        }
        EXPECT_NEAR(pass_at_k(n, c, k), static_cast<double>(with_right) / sets, 1e-12);
      }
  EXPECT_EQ(pass_at_k(1000, 0, 10), 0);
  EXPECT_NEAR(pass_at_k(1000, 1, 10), 0.01, 1e-12);
}

ProblemResult result(const char* task, int level, const char* mode, int64_t right, int64_t tokens,
                     int64_t cut = 0) {
  return {.task = task,
          .level = level,
          .mode = mode,
          .samples = 4,
          .right = right,
          .tokens = tokens,
          .cut = cut};
}

TEST(Statistics, TheTableOfKnownVerdicts) {
  const std::vector<ProblemResult> results = {
      result("a", 1, "slow", 4, 40), result("a", 1, "slow", 2, 80, 1), result("a", 1, "fast", 1, 4),
      result("a", 2, "slow", 0, 120, 2), result("b", 0, "slow", 2, 8)};
  const std::vector<ResultRow> rows = summarise(results);
  ASSERT_EQ(rows.size(), 8U);  // a 1 slow, a 1 fast, a 2 slow, a slow, a fast, b slow, slow, fast
  const ResultRow& first = rows[0];
  EXPECT_EQ(first.task + first.mode, "aslow");
  EXPECT_EQ(first.level, 1);
  EXPECT_EQ(first.problems, 2);
  EXPECT_EQ(first.samples, 4);
  EXPECT_NEAR(first.exact, 0.75, 1e-12);
  EXPECT_EQ(first.k, (std::vector<int64_t>{1, 2, 4}));
  EXPECT_NEAR(first.pass[0], 0.75, 1e-12);
  EXPECT_NEAR(first.pass[1], (1 + 5.0 / 6) / 2, 1e-12);  // of 6 pairs, one is all wrong
  EXPECT_NEAR(first.pass[2], 1, 1e-12);
  EXPECT_NEAR(first.tokens, 120.0 / 8, 1e-12);
  EXPECT_NEAR(first.cut, 1.0 / 8, 1e-12);
  EXPECT_NEAR(rows[1].exact, 0.25, 1e-12);
  EXPECT_EQ(rows[3].level, 0);
  EXPECT_NEAR(rows[3].exact, 0.5, 1e-12);
  EXPECT_EQ(rows[6].task + rows[6].mode, "allslow");
  EXPECT_NEAR(rows[6].exact, 0.5, 1e-12);
  EXPECT_EQ(rows[6].problems, 4);
  const std::vector<std::string> lines = table_of(rows);
  ASSERT_EQ(lines.size(), 9U);
  EXPECT_NE(lines[1].find("75.0 %"), std::string::npos) << lines[1];
  EXPECT_NE(lines[1].find("@4 100.0 %"), std::string::npos) << lines[1];
  EXPECT_NE(lines[1].find("12.5 %"), std::string::npos) << lines[1];
}

}  // namespace
}  // namespace um
