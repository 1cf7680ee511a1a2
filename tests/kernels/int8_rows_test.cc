// Rows of int8 groups: every backend packs to the same bits as the reference, and the error is half
// a step of the group's largest value.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "kernels/kernels.h"
#include "tests/kernels/harness_util.h"

namespace um {
namespace {

constexpr int64_t kRows = 9, kPoolRows = 20;

struct Packed {
  explicit Packed(int64_t width)
      : width(width),
        values(static_cast<size_t>(kPoolRows * (width + 3)), 77),
        scales(static_cast<size_t>(kPoolRows * (int8_groups(width) + 1)), -1.0f) {}

  QuantizeRows quantize(const std::vector<float>& x) {
    return {.rows = kRows,
            .width = width,
            .x = x.data(),
            .ldx = width + 1,
            .slots = slots.data(),
            .values = values.data(),
            .ld_values = width + 3,
            .scales = scales.data(),
            .ld_scales = int8_groups(width) + 1};
  }
  DequantizeRows dequantize(std::vector<float>& y) const {
    return {.rows = kRows,
            .width = width,
            .x = {values.data(), width + 3, kInt8CacheRows, scales.data(), int8_groups(width) + 1},
            .slots = slots.data(),
            .y = y.data(),
            .ldy = width};
  }

  int64_t width;
  std::vector<int8_t> values;
  std::vector<float> scales;
  std::vector<int32_t> slots = {3, 0, 19, 7, 8, 9, 11, 2, 15};
};

std::vector<float> noise(int64_t count) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random) * std::exp(3 * normal(random));
  return x;
}

TEST(Int8Rows, EveryBackendPacksToTheSameBits) {
  for (const int64_t width : {1, 5, 63, 64, 65, 130, 576}) {
    std::vector<float> x = noise(kRows * (width + 1));
    for (int64_t c = 0; c < width; ++c) x[static_cast<size_t>(2 * (width + 1) + c)] = 0;
    for (int64_t c = 0; c < width; ++c) x[static_cast<size_t>(3 * (width + 1) + c)] *= 1e-38f;
    x[static_cast<size_t>(4 * (width + 1))] = 0.5f,
                                       x[static_cast<size_t>(5 * (width + 1))] = -1e38f;
    Packed expected(width);
    ref::kTable.quantize_rows(expected.quantize(x));
    std::vector<float> unpacked(static_cast<size_t>(kRows * width));
    ref::kTable.dequantize_rows(expected.dequantize(unpacked));
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < width; ++c) {
        const int64_t group = c / kInt8Group;
        const float scale = expected.scales[static_cast<size_t>(
            expected.slots[static_cast<size_t>(r)] * (int8_groups(width) + 1) + group)];
        EXPECT_NEAR(unpacked[static_cast<size_t>(r * width + c)],
                    x[static_cast<size_t>(r * (width + 1) + c)], scale * 0.5001f + 1e-35f);
      }
    for (const Kernels* kernels : test::vector_tables()) {
      Packed found(width);
      kernels->quantize_rows(found.quantize(x));
      EXPECT_EQ(found.values, expected.values) << kernels->name << ", width " << width;
      EXPECT_EQ(found.scales, expected.scales) << kernels->name << ", width " << width;
      std::vector<float> y(unpacked.size());
      kernels->dequantize_rows(found.dequantize(y));
      EXPECT_EQ(y, unpacked) << kernels->name << ", width " << width;
    }
  }
}

TEST(Bf16Rows, EveryBackendRoundsToTheSameBits) {
  for (const int64_t width : {1, 7, 64, 130}) {
    std::vector<float> x = noise(kRows * (width + 1));
    x[0] = NAN, x[static_cast<size_t>(width + 1)] = -INFINITY;
    x[static_cast<size_t>(2 * (width + 1))] = std::numeric_limits<float>::max();
    const std::vector<int32_t> slots = {3, 0, 19, 7, 8, 9, 11, 2, 15};
    std::vector<const Kernels*> tables = test::vector_tables();
    tables.push_back(&ref::kTable);
    for (const Kernels* kernels : tables) {
      std::vector<uint16_t> narrow(static_cast<size_t>(kPoolRows * (width + 3)), 77);
      kernels->narrow_rows({.rows = kRows,
                            .width = width,
                            .x = x.data(),
                            .ldx = width + 1,
                            .slots = slots.data(),
                            .y = narrow.data(),
                            .ldy = width + 3});
      std::vector<float> back(static_cast<size_t>(kRows * width));
      kernels->dequantize_rows({.rows = kRows,
                                .width = width,
                                .x = {narrow.data(), width + 3},
                                .slots = slots.data(),
                                .y = back.data(),
                                .ldy = width});
      for (int64_t r = 0; r < kRows; ++r)
        for (int64_t c = 0; c < width; ++c) {
          const uint16_t expected = bf16_from_f32(x[static_cast<size_t>(r * (width + 1) + c)]);
          EXPECT_EQ(narrow[static_cast<size_t>(slots[static_cast<size_t>(r)] * (width + 3) + c)],
                    expected)
              << kernels->name;
          EXPECT_EQ(bf16_from_f32(back[static_cast<size_t>(r * width + c)]), expected)
              << kernels->name;
        }
      EXPECT_EQ(std::count(narrow.begin(), narrow.end(), 77),
                static_cast<int64_t>(narrow.size()) - kRows * width)
          << "nothing else is written";
    }
  }
}

TEST(Int8Rows, WhatIsNotFiniteStaysSo) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<const Kernels*> tables = test::vector_tables();
    tables.push_back(&ref::kTable);
    for (const Kernels* kernels : tables) {
      const int64_t width = 130;
      std::vector<float> x = noise(kRows * (width + 1)), y(static_cast<size_t>(kRows * width));
      x[70] = bad;
      Packed packed(width);
      kernels->quantize_rows(packed.quantize(x));
      kernels->dequantize_rows(packed.dequantize(y));
      for (int64_t c = 0; c < width; ++c)
        EXPECT_EQ(std::isnan(y[static_cast<size_t>(c)]), c >= 64 && c < 128) << kernels->name;
    }
  }
}

}  // namespace
}  // namespace um
