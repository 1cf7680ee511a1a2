// Products of int8 activations with weights in panels: every instruction set has the reference's
// bits, the reference is the plain product of the values, and a row's bits do not depend on its
// company.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "kernels/args/matmul.h"
#include "ops/devices.h"
#include "ops/rows.h"
#include "tests/kernels/harness_util.h"
#include "tests/kernels/rows_util.h"

namespace um {
namespace {

using test::vector_tables;

constexpr bool kOffsets = true;
constexpr ScaleType kHalf = ScaleType::f16, kFull = ScaleType::f32, kCoded = ScaleType::coded;
const std::vector<RowFormat> kFormats = {
    {RowType::panel8, kWholeRow},
    kW8Rows,
    kW4Rows,
    {RowType::panel8, 32, kHalf},
    {RowType::panel8, 16},
    {RowType::panel8, 128, kFull, kOffsets},
    {RowType::panel4, kWholeRow},
    {RowType::panel4, 16, kFull, kOffsets},
    {RowType::panel4, 32, kHalf, kOffsets},
    {RowType::panel4, 64},
    {RowType::panel4, 128},
    {RowType::panel4, 32, kCoded, kOffsets},
    {RowType::panel4, 16, kCoded, kOffsets},
    {RowType::panel5, 32, kHalf},
    {RowType::panel5, 32, kHalf, kOffsets},
    {RowType::panel5, 32, kCoded, kOffsets},
    {RowType::panel6, 16, kCoded},
    {RowType::panel6, 64, kFull, kOffsets},
    {RowType::panel6, kWholeRow},
    {RowType::panel8, 32, kCoded},
};

std::vector<float> noise(int64_t count, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = uniform(random);
  return x;
}

int64_t unit_count(const RowFormat& format, int64_t cols) {
  return (format.scales(cols) + format.coded_groups() - 1) / format.coded_groups();
}

/// Scales or offsets of a row; coded ones are multiples of `units`.
std::vector<float> numbers(const RowFormat& format, int64_t cols, std::mt19937& random,
                           std::vector<float>& units) {
  if (format.scale_type != ScaleType::coded) return noise(format.scales(cols), random);
  units = noise(unit_count(format, cols), random);
  for (float& unit : units) unit = f32_from_f16(f16_from_f32(unit));
  std::vector<float> out;
  for (int64_t g = 0; g < format.scales(cols); ++g)
    out.push_back(units[static_cast<size_t>(g / format.coded_groups())] *
                  static_cast<float>(static_cast<int8_t>(random() >> 8)));
  return out;
}

/// Any codes, scales and offsets.
Rows random_panels(int64_t rows, int64_t cols, const RowFormat& format, std::mt19937& random,
                   int64_t unit = 0) {
  const Rows panels = Rows::empty(cpu_device(), {rows, cols}, format, unit);
  for (int64_t row = 0; row < rows; ++row) {
    RowCodes codes;
    for (int64_t c = 0; c < cols; ++c)
      codes.codes.push_back(static_cast<uint8_t>(random() >> 8) >>
                            (8 - row_type_bits(format.type)));
    codes.scales = numbers(format, cols, random, codes.units);
    if (format.offsets) codes.offsets = numbers(format, cols, random, codes.offset_units);
    panels.write_codes(row, codes);
  }
  return panels;
}

/// Rows in i8 as a product with weights of `format` takes them, `spare` columns apart; -128 too.
struct Activations {
  std::vector<int8_t> values;
  std::vector<float> scales;
  RowsView view;

  Activations(int64_t rows, int64_t cols, const RowFormat& weights, std::mt19937& random) {
    const RowFormat format = activation_format(weights);
    const int64_t ld = cols + 5, groups = format.scales(cols) + 1;
    values.resize(static_cast<size_t>(rows * ld));
    for (int8_t& value : values) value = static_cast<int8_t>(random() >> 8);
    scales = noise(rows * groups, random);
    view = {values.data(), ld, format, scales.data(), groups};
  }
};

struct Problem {
  std::mt19937 random{7};
  Rows b;
  Activations a;
  std::vector<float> bias, c;
  Matmul args;

  Problem(const RowFormat& format, int64_t m, int64_t n, int64_t k, bool with_bias)
      : b(random_panels(n, k, format, random)),
        a(m, k, format, random),
        bias(noise(n, random)),
        c(noise(m * (n + 2), random)) {
    args = {.m = m,
            .n = n,
            .k = k,
            .a = a.view,
            .b = b.view(),
            .trans_b = true,
            .ldc = n + 2,
            .bias = with_bias ? bias.data() : nullptr};
  }
  std::vector<float> run(const Kernels& table) {
    std::vector<float> result = c;
    args.c = result.data();
    table.matmul(args);
    return result;
  }
};

/// Values of i8 rows and of panels, by the definition of the format.
double activation(const Problem& p, int64_t row, int64_t col) {
  const int64_t group = std::min(p.a.view.format.group, p.args.k);
  return static_cast<double>(p.a.view.from_row(row).i8()[col]) *
         p.a.view.f32_scales()[row * p.a.view.scale_stride + col / group];
}

TEST(Panels, RowsAreTheCodesTimesTheirScales) {
  std::mt19937 random(3);
  for (const RowFormat& format : kFormats) {
    for (const int64_t unit : {0, 5, 20}) {
      const int64_t rows = 40, cols = 150;
      const Rows panels = Rows::empty(cpu_device(), {rows, cols}, format, unit);
      std::vector<float> expected;
      for (int64_t row = 0; row < rows; ++row) {
        RowCodes codes;
        const int64_t groups = format.scales(cols), group = std::min(format.group, cols);
        codes.units.assign(static_cast<size_t>(unit_count(format, cols)), 0.25F);
        codes.offset_units.assign(codes.units.size(), 1);
        for (int64_t g = 0; g < groups; ++g) {
          codes.scales.push_back(0.25F * static_cast<float>(1 + (row + g) % 7));
          if (format.offsets) codes.offsets.push_back(static_cast<float>(row - 3 * g));
        }
        for (int64_t c = 0; c < cols; ++c) {
          const int top = (1 << row_type_bits(format.type)) - 1;
          codes.codes.push_back(static_cast<uint8_t>(random() % static_cast<unsigned>(top + 1)));
          const auto g = static_cast<size_t>(c / group);
          const int less = format.offsets ? 0 : (top + 1) / 2;
          expected.push_back(static_cast<float>(codes.codes.back() - less) * codes.scales[g] +
                             (format.offsets ? codes.offsets[g] : 0.0F));
        }
        panels.write_codes(row, codes);
      }
      EXPECT_EQ(values_of(panels), expected) << format_name(format) << " unit " << unit;
      for (const Kernels* table : vector_tables())
        EXPECT_EQ(values_of(panels, *table), expected) << table->name << format_name(format);
    }
  }
}

/// Integer sums are exact, and one rounding follows another in the same order: equal bits.
TEST(PanelMatmul, EveryInstructionSetHasTheReferencesBits) {
  for (const RowFormat& format : kFormats)
    for (const int64_t k : {1, 15, 16, 31, 32, 33, 64, 95, 200, 1100})
      for (const int64_t m : {1, 2, 3, 4, 5, 7, 12, 40})
        for (const int64_t n : {1, 8, 16, 37}) {
          Problem problem(format, m, n, k, n % 2 == 1);
          const std::vector<float> expected = problem.run(ref::kTable);
          for (const Kernels* table : vector_tables())
            ASSERT_EQ(problem.run(*table), expected) << table->name << " " << format_name(format)
                                                     << " m=" << m << " n=" << n << " k=" << k;
        }
}

TEST(PanelMatmul, TheReferenceIsTheProductOfTheValues) {
  for (const RowFormat& format : kFormats) {
    const int64_t m = 3, n = 21, k = 330;
    Problem problem(format, m, n, k, true);
    const std::vector<float> found = problem.run(ref::kTable), b = values_of(problem.b);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = problem.bias[static_cast<size_t>(j)], size = std::abs(sum);
        for (int64_t l = 0; l < k; ++l) {
          const double term = activation(problem, i, l) * b[static_cast<size_t>(j * k + l)];
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(found[static_cast<size_t>(i * (n + 2) + j)], sum, 1e-5 * size)
            << format_name(format);
      }
  }
}

TEST(PanelMatmul, BlocksOfRowsAndThreadsChangeNoBit) {
  const int most = omp_get_max_threads();
  for (const RowFormat& format : {kW8Rows, kW4Rows}) {
    Problem problem(format, 150, 333, 2100, true);
    const std::vector<float> expected = problem.run(ref::kTable);
    for (const Kernels* table : vector_tables()) {
      for (const int threads : {1, 2, 3}) {
        omp_set_num_threads(threads);
        ASSERT_EQ(problem.run(*table), expected) << table->name << " threads=" << threads;
      }
      omp_set_num_threads(most);
    }
  }
}

/// The largest sum: -128 * -128 in every channel, as deep as is allowed.
TEST(PanelMatmul, TheDeepestRowDoesNotOverflow) {
  const int64_t k = kMaxInt8Depth;
  const std::vector<int8_t> row(static_cast<size_t>(k), -128);
  const float one = 1;
  const Rows b = Rows::empty(cpu_device(), {1, k}, {RowType::panel8, kWholeRow});
  b.write_codes(
      0, {.codes = std::vector<uint8_t>(static_cast<size_t>(k), 0), .scales = {1}, .offsets = {}});
  for (const Kernels* table : vector_tables()) {
    float c = 0;
    table->matmul({.m = 1,
                   .n = 1,
                   .k = k,
                   .a = {row.data(), k, kInt8Rows, &one, 1},
                   .b = b.view(),
                   .trans_b = true,
                   .c = &c,
                   .ldc = 1});
    EXPECT_EQ(c, static_cast<float>(k * 128 * 128)) << table->name;
  }
}

/// Each slot has the bits of the dense product with its expert, whose halves begin a panel.
TEST(PanelMatmul, GroupsHaveTheBitsOfDense) {
  std::mt19937 random(5);
  for (const RowFormat& format : kFormats) {
    for (const int64_t width : {37, 32}) {
      const int64_t n = 2 * width, k = 133, groups = 5, tokens = 40;
      const std::vector<int64_t> offsets = {0, 1, 1, 30, 34, 70};
      const std::vector<int32_t> places = {4, 2, 0, 1, 3};
      const int64_t slots = offsets.back();
      const Rows b = random_panels(groups * n, k, format, random, width);
      const Activations a(tokens, k, format, random);
      std::vector<int32_t> gather;
      for (int64_t i = 0; i < slots; ++i) gather.push_back(static_cast<int32_t>(i * 7 % tokens));
      std::vector<float> c(static_cast<size_t>(slots * n)), act(c.size() / 2);
      GroupedMatmul args;
      args.groups = groups;
      args.rows = slots;
      args.n = n;
      args.k = k;
      args.offsets = offsets.data();
      args.a = a.view;
      args.gather_a = gather.data();
      args.b = b.view();
      args.slots = places.data();
      args.c = c.data();
      args.ldc = n;
      args.swiglu = act.data();
      ref::kTable.grouped_matmul(args);
      const std::vector<float> expected = c, expected_act = act;
      for (const Kernels* table : vector_tables()) {
        std::fill(c.begin(), c.end(), 0.0f);
        table->grouped_matmul(args);
        ASSERT_EQ(c, expected) << table->name << " " << format_name(format);
        for (size_t i = 0; i < act.size(); ++i)
          ASSERT_NEAR(act[i], expected_act[i], 1e-5f * std::abs(expected_act[i]) + 1e-30f);
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t place = places[static_cast<size_t>(g)];
          for (int64_t slot = offsets[g]; slot < offsets[g + 1]; ++slot) {
            std::vector<float> row(static_cast<size_t>(n));
            table->matmul({.m = 1,
                           .n = n,
                           .k = k,
                           .a = a.view.from_row(gather[static_cast<size_t>(slot)]),
                           .b = b.row_range(place * n, (place + 1) * n).view(),
                           .trans_b = true,
                           .c = row.data(),
                           .ldc = n});
            ASSERT_TRUE(std::equal(row.begin(), row.end(), c.begin() + slot * n)) << table->name;
          }
        }
      }
    }
  }
}

/// Squared error of rows put into a format, against that of the plainest scale for 4 bits.
TEST(Panels, FourBitScalesBeatTheLargestMagnitudes) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 0.02F);
  const int64_t rows = 64, cols = 256;
  std::vector<float> x(static_cast<size_t>(rows * cols));
  for (float& value : x) value = normal(random);
  const Rows panels = Rows::empty(cpu_device(), {rows, cols}, kW4Rows);
  panels.write(0, rows, x.data());
  const std::vector<float> kept = values_of(panels);
  double error = 0, plain = 0;
  for (int64_t begin = 0; begin < rows * cols; begin += 32) {
    float largest = 0;
    for (int64_t i = begin; i < begin + 32; ++i)
      largest = std::max(largest, std::abs(x[static_cast<size_t>(i)]));
    const float scale = largest / 7.5F;
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(begin) + 32; ++i) {
      error += std::pow(double{x[i]} - kept[i], 2);
      plain +=
          std::pow(double{x[i]} - scale * std::clamp(std::nearbyint(x[i] / scale), -8.0F, 7.0F), 2);
    }
  }
  EXPECT_LT(error, 0.85 * plain);
}

TEST(Panels, WhatIsNotFiniteStaysSo) {
  for (const RowFormat& format : {kW8Rows, kW4Rows, RowFormat{RowType::panel8, kWholeRow}}) {
    std::vector<float> x(128, 1.0F);
    x[40] = std::nanf("");
    const Rows panels = Rows::empty(cpu_device(), {1, 128}, format);
    panels.write(0, 1, x.data());
    const std::vector<float> kept = values_of(panels);
    EXPECT_TRUE(std::isnan(kept[40])) << format_name(format);
    EXPECT_EQ(std::isnan(kept[0]), format.group > 40) << format_name(format);
    EXPECT_EQ(std::isnan(kept[100]), format.group == kWholeRow) << format_name(format);
  }
}

TEST(Panels, GroupsThatNoKernelTakesAreRefused) {
  for (const int64_t group : {0, 8, 24, 40, -32})
    EXPECT_THROW(Rows::empty(cpu_device(), {4, 96}, {RowType::panel4, group}), Error) << group;
}

TEST(Panels, ValuesAreNotRoundedToFormatsOfFiles) {
  const std::vector<float> x(64, 1.0F);
  for (const RowFormat& format :
       {RowFormat{RowType::panel6, 32, kHalf}, RowFormat{RowType::panel4, 32, kCoded}}) {
    const Rows panels = Rows::empty(cpu_device(), {1, 64}, format);
    EXPECT_THROW(panels.write(0, 1, x.data()), Error) << format_name(format);
  }
}

}  // namespace
}  // namespace um
