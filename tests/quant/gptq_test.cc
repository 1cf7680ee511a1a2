// GPTQ against the rule that it computes faster: after a column is rounded, the others take the
// change that is best for the product (Hassibi and Stork 1993), with an inverse of what is left.
#include "quant/gptq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "ops/devices.h"
#include "ops/rounding.h"
#include "quant/round_matrix.h"

namespace um {
namespace {

using Square = std::vector<std::vector<double>>;

constexpr RowFormat kTest{RowType::panel4, 32, ScaleType::f16};

Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed, bool correlated) {
  const RandomStream random(seed, 1);
  Tensor x = Tensor::empty(cpu_device(), {rows, cols});
  for (int64_t r = 0; r < rows; ++r) {
    const double common = random.normal(static_cast<uint64_t>(r * (cols + 1)));
    for (int64_t c = 0; c < cols; ++c)
      x.f32()[r * cols + c] = static_cast<float>(
          random.normal(static_cast<uint64_t>(r * (cols + 1) + c + 1)) * (1 + 0.03 * double(c)) +
          (correlated ? 2 * common : 0));
  }
  return x;
}

Tensor gram_of(const Tensor& x) {
  const int64_t n = x.cols();
  Tensor gram = Tensor::zeros(cpu_device(), {n, n});
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        gram.f32()[i * n + j] += x.f32()[r * n + i] * x.f32()[r * n + j];
  return gram;
}

/// By elimination with pivots on the diagonal.
Square inverse_of(Square a) {
  const size_t n = a.size();
  Square inverse(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) inverse[i][i] = 1;
  for (size_t i = 0; i < n; ++i) {
    const double pivot = a[i][i];
    for (size_t j = 0; j < n; ++j) a[i][j] /= pivot, inverse[i][j] /= pivot;
    for (size_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double factor = a[r][i];
      for (size_t j = 0; j < n; ++j)
        a[r][j] -= factor * a[i][j], inverse[r][j] -= factor * inverse[i][j];
    }
  }
  return inverse;
}

/// One row, column after column in `order`, each time with the inverse over what is left: a column
/// is taken out of an inverse by elimination.
std::vector<int> round_by_the_rule(std::vector<double> w, const Square& gram,
                                   const std::vector<size_t>& order,
                                   const std::vector<float>& scales) {
  std::vector<int> codes(w.size());
  Square inverse = inverse_of(gram);
  for (const size_t column : order) {
    const double scale = double{scales[column / 32]}, pivot = inverse[column][column];
    codes[column] = static_cast<int>(std::clamp(std::nearbyint(w[column] / scale), -8.0, 7.0));
    const double error = (w[column] - codes[column] * scale) / pivot;
    for (size_t j = 0; j < w.size(); ++j) w[j] -= error * inverse[column][j];
    const std::vector<double> row = inverse[column];
    for (size_t i = 0; i < w.size(); ++i)
      for (size_t j = 0; j < w.size(); ++j) inverse[i][j] -= row[i] * row[j] / pivot;
  }
  return codes;
}

TEST(Gptq, IsTheRuleItComputesFaster) {
  constexpr int64_t kCols = 192, kRows = 4;  // two blocks
  const Tensor x = random_matrix(400, kCols, 1, true), w = random_matrix(kRows, kCols, 2, false);
  const Tensor gram = gram_of(x);
  std::vector<RowCodes> rows;
  for (int64_t r = 0; r < kRows; ++r)
    rows.push_back(round_row(*cpu_device().kernels(), w.f32() + r * kCols, kCols, kTest));

  double mean = 0;
  for (int64_t i = 0; i < kCols; ++i) mean += double{gram.f32()[i * kCols + i]} / kCols;
  Square damped(kCols, std::vector<double>(kCols));
  for (int64_t i = 0; i < kCols; ++i)
    for (int64_t j = 0; j < kCols; ++j)
      damped[i][j] = double{gram.f32()[i * kCols + j]} + (i == j ? 0.001 * mean : 0);
  std::vector<size_t> order(kCols);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return gram.f32()[a * kCols + a] > gram.f32()[b * kCols + b];
  });

  const auto compensation = Compensation::make(gram.clone());
  ASSERT_TRUE(compensation.has_value());
  round_compensated(*compensation, w, kTest, rows);
  int other = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    const std::vector<double> values(w.f32() + r * kCols, w.f32() + (r + 1) * kCols);
    const std::vector<int> expected =
        round_by_the_rule(values, damped, order, rows[static_cast<size_t>(r)].scales);
    for (int64_t c = 0; c < kCols; ++c)
      other += rows[static_cast<size_t>(r)].codes[static_cast<size_t>(c)] - 8 != expected[c];
  }
  // f32 and f64 may part where a value lies in the middle of two integers.
  EXPECT_LE(other, kRows * kCols / 100);
}

TEST(Gptq, ProductsLoseLessAndChannelsWithoutInputKeepTheirWeights) {
  constexpr int64_t kCols = 160, kRows = 4;
  const Tensor x = random_matrix(400, kCols, 3, true), w = random_matrix(kRows, kCols, 4, false);
  for (int64_t r = 0; r < x.rows(); ++r) x.f32()[r * kCols + 7] = 0;
  const auto compensation = Compensation::make(gram_of(x));
  ASSERT_TRUE(compensation.has_value());
  std::vector<RowCodes> nearest, rows;
  for (int64_t r = 0; r < kRows; ++r)
    nearest.push_back(round_row(*cpu_device().kernels(), w.f32() + r * kCols, kCols, kTest));
  rows = nearest;
  round_compensated(*compensation, w, kTest, rows);
  const auto error = [&](const std::vector<RowCodes>& of) {
    double sum = 0;
    for (int64_t t = 0; t < x.rows(); ++t)
      for (int64_t r = 0; r < kRows; ++r) {
        double product = 0;
        const RowCodes& row = of[static_cast<size_t>(r)];
        for (int64_t c = 0; c < kCols; ++c)
          product += double{x.f32()[t * kCols + c]} *
                     (double{w.f32()[r * kCols + c]} -
                      (row.codes[static_cast<size_t>(c)] - 8) *
                          double{row.scales[static_cast<size_t>(c / 32)]});
        sum += product * product;
      }
    return sum;
  };
  EXPECT_LT(error(rows), 0.8 * error(nearest));
  for (int64_t r = 0; r < kRows; ++r)
    EXPECT_EQ(rows[static_cast<size_t>(r)].codes[7], nearest[static_cast<size_t>(r)].codes[7]);
}

TEST(Gptq, WhatHasNoFactorIsSaid) {
  Tensor gram = Tensor::zeros(cpu_device(), {32, 32});
  gram.f32()[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(Compensation::make(gram).has_value());
}

TEST(Rounding, ImportanceBringsTheWeighedErrorDown) {
  const Tensor w = random_matrix(64, 32, 5, false);
  std::vector<float> importance(32);
  for (size_t c = 0; c < 32; ++c) importance[c] = c % 4 == 0 ? 100.0f : 1.0f;
  double plain = 0, weighed = 0;
  for (int64_t r = 0; r < 64; ++r) {
    const float* x = w.f32() + r * 32;
    const auto error = [&](const RowCodes& row) {
      double sum = 0;
      for (int64_t c = 0; c < 32; ++c) {
        const double off =
            double{x[c]} - (row.codes[static_cast<size_t>(c)] - 8) * double{row.scales[0]};
        sum += double{importance[static_cast<size_t>(c)]} * off * off;
      }
      return sum;
    };
    plain += error(round_row(*cpu_device().kernels(), x, 32, kTest));
    weighed += error(round_row(*cpu_device().kernels(), x, 32, kTest, {importance.data(), true}));
  }
  EXPECT_LT(weighed, 0.9 * plain);
}

}  // namespace
}  // namespace um
