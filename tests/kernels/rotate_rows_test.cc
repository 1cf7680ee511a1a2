// Rotation by Hadamard's matrix: the matrix by its entries, the same bits on every backend, and its
// own inverse.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/kernels.h"
#include "tests/kernels/harness_util.h"

namespace um {
namespace {

constexpr int64_t kRows = 5;

std::vector<float> noise(int64_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random) * std::exp(2 * normal(random));
  return x;
}

std::vector<float> rotated(const Kernels& kernels, const std::vector<float>& x, int64_t width,
                           int64_t block) {
  std::vector<float> y(static_cast<size_t>(kRows * (width + 2)), 77.0f);
  kernels.rotate_rows({.rows = kRows,
                       .width = width,
                       .block = block,
                       .x = x.data(),
                       .ldx = width,
                       .y = y.data(),
                       .ldy = width + 2});
  return y;
}

TEST(RotateRows, IsTheMatrixByItsEntries) {
  for (const auto& [width, block] : {std::pair<int64_t, int64_t>{70, 2},
                                     {64, 64},
                                     {200, 64},
                                     {96, 32},
                                     {31, 16},
                                     {20, 64},
                                     {512, 256}}) {
    const std::vector<float> x = noise(kRows * width);
    const std::vector<float> y = rotated(ref::kTable, x, width, block);
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < width; ++c) {
        const int64_t begin = c / block * block;
        double expected = double{x[static_cast<size_t>(r * width + c)]}, size = std::abs(expected);
        if (begin + block <= width) {
          expected = size = 0;
          for (int64_t j = 0; j < block; ++j) {
            const double term = double{x[static_cast<size_t>(r * width + begin + j)]} /
                                std::sqrt(static_cast<double>(block));
            const bool odd = std::popcount(static_cast<uint64_t>(j & (c - begin))) % 2 == 1;
            expected += odd ? -term : term;
            size += std::abs(term);
          }
        }
        EXPECT_NEAR(y[static_cast<size_t>(r * (width + 2) + c)], expected, 1e-6 * size)
            << width << " by " << block;
      }
  }
}

TEST(RotateRows, EveryBackendHasTheSameBitsAlsoInPlace) {
  std::vector<const Kernels*> tables = test::vector_tables();
  tables.push_back(&ref::kTable);
  for (const int64_t width : {1, 33, 64, 130, 576})
    for (const int64_t block : {2, 8, 16, 32, 64, 512}) {
      const std::vector<float> x = noise(kRows * width);
      const std::vector<float> expected = rotated(ref::kTable, x, width, block);
      for (const Kernels* kernels : tables) {
        EXPECT_EQ(rotated(*kernels, x, width, block), expected)
            << kernels->name << " " << width << " by " << block;
        std::vector<float> y = x;
        kernels->rotate_rows({.rows = kRows,
                              .width = width,
                              .block = block,
                              .x = y.data(),
                              .ldx = width,
                              .y = y.data(),
                              .ldy = width});
        for (int64_t r = 0; r < kRows; ++r)
          for (int64_t c = 0; c < width; ++c)
            ASSERT_EQ(y[static_cast<size_t>(r * width + c)],
                      expected[static_cast<size_t>(r * (width + 2) + c)])
                << kernels->name << " in place";
      }
    }
}

TEST(RotateRows, TwiceIsTheSameRowAgain) {
  constexpr int64_t kWidth = 192;
  const std::vector<float> x = noise(kRows * kWidth);
  std::vector<float> y = x;
  for (int i = 0; i < 2; ++i)
    test::vector_tables().front()->rotate_rows({.rows = kRows,
                                                .width = kWidth,
                                                .block = 64,
                                                .x = y.data(),
                                                .ldx = kWidth,
                                                .y = y.data(),
                                                .ldy = kWidth});
  for (size_t i = 0; i < x.size(); ++i) {
    double size = 0;
    for (size_t j = i / 64 * 64; j < i / 64 * 64 + 64; ++j) size += std::abs(double{x[j]});
    EXPECT_NEAR(y[i], x[i], 1e-6 * size);
  }
}

}  // namespace
}  // namespace um
