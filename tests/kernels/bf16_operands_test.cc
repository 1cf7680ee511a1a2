// Products whose operands are rounded to bf16: every instruction set against the reference, which
// rounds them one by one; exact where sums are; rows independent of their company.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "kernels/cpu/onednn_matmul.h"
#include "kernels/kernels.h"
#include "tests/kernels/harness_util.h"

namespace um {
namespace {

using test::vector_tables;

std::vector<float> noise(size_t count, int seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(count);
  for (float& value : x) value = uniform(rng);
  return x;
}

std::vector<float> small_integers(size_t count, int seed) {
  std::mt19937 rng(seed);
  std::uniform_int_distribution<int> uniform(-9, 9);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(uniform(rng));
  return x;
}

std::vector<uint16_t> in_bf16(const std::vector<float>& x) {
  std::vector<uint16_t> bits;
  for (const float value : x) bits.push_back(bf16_from_f32(value));
  return bits;
}

float rounded(float x) {
  return f32_from_bf16(bf16_from_f32(x));
}

/// A product with rows `pad` elements longer than they need be.
struct Problem {
  Matmul args;
  std::vector<float> a, b, c, bias;
  std::vector<uint16_t> b_bf16;

  Problem(int64_t m, int64_t n, int64_t k, int flags, int64_t pad = 0,
          std::vector<float> (*values)(size_t, int) = noise) {
    const bool trans_a = (flags & 1) != 0, trans_b = (flags & 2) != 0;
    const int64_t lda = (trans_a ? m : k) + pad, ldb = (trans_b ? k : n) + pad;
    a = values(static_cast<size_t>((trans_a ? k : m) * lda + 1), 1);
    b = values(static_cast<size_t>((trans_b ? n : k) * ldb + 1), 2);
    c = values(static_cast<size_t>(m * (n + pad) + 1), 3);
    bias = values(static_cast<size_t>(n), 4);
    args = {.m = m,
            .n = n,
            .k = k,
            .a = {a.data(), lda},
            .trans_a = trans_a,
            .b = {b.data(), ldb},
            .trans_b = trans_b,
            .ldc = n + pad,
            .bias = (flags & 8) != 0 ? bias.data() : nullptr,
            .accumulate = (flags & 4) != 0,
            .operands = Operands::bf16};
  }
  void store_bf16() {
    b_bf16 = in_bf16(b);
    args.b = {b_bf16.data(), args.b.ld()};
  }
  std::vector<float> run(const Kernels& table) {
    std::vector<float> result = c;
    args.c = result.data();
    table.matmul(args);
    return result;
  }
};

void check(Problem problem) {
  const float tolerance = 1e-6f * (2 + std::sqrt(static_cast<float>(problem.args.k))) * 4;
  for (const bool stored : {false, true}) {
    if (stored) problem.store_bf16();
    const std::vector<float> expected = problem.run(ref::kTable);
    for (const Kernels* table : vector_tables()) {
      const std::vector<float> found = problem.run(*table);
      for (size_t i = 0; i < found.size(); ++i)
        ASSERT_NEAR(found[i], expected[i], tolerance)
            << table->name << " m=" << problem.args.m << " n=" << problem.args.n
            << " k=" << problem.args.k << " trans " << problem.args.trans_a << problem.args.trans_b
            << " stored in bf16 " << stored << " at " << i;
    }
  }
}

TEST(Bf16Operands, EveryFlagAtOddSizes) {
  const int64_t sizes[][3] = {{1, 1, 1},     {1, 37, 19},   {2, 64, 16},  {5, 33, 40},
                              {7, 129, 65},  {13, 31, 33},  {14, 32, 48}, {15, 47, 50},
                              {61, 95, 301}, {130, 600, 33}};
  for (const auto& s : sizes)
    for (int flags = 0; flags < 16; ++flags) check({s[0], s[1], s[2], flags, flags % 3});
}

TEST(Bf16Operands, LargeEnoughForEveryBlock) {
  check({61, 1100, 601, 2 | 4 | 8});
  check({110, 70, 700, 1});
  check({57, 530, 513, 0, 3});
  check({260, 260, 260, 0});  // gradients that oneDNN takes where the processor has a bf16 dot
  check({260, 260, 260, 1 | 4});
}

TEST(Bf16Operands, NothingToMultiply) {
  for (int flags = 0; flags < 16; ++flags) {
    check({0, 5, 7, flags});
    check({5, 0, 7, flags});
    check({5, 7, 0, flags});
    check({40, 7, 0, flags});
  }
}

/// Sums of small integers are exact in every order.
TEST(Bf16Operands, ExactWhereSumsAre) {
  for (int flags = 0; flags < 16; ++flags)
    for (const int64_t m : {1, 3, 14, 60}) {
      Problem problem(m, 101, 257, flags, 0, small_integers);
      problem.args.operands = Operands::f32;  // nothing to round
      const std::vector<float> expected = problem.run(ref::kTable);
      problem.args.operands = Operands::bf16;
      for (const Kernels* table : vector_tables())
        ASSERT_EQ(problem.run(*table), expected) << table->name << " flags " << flags << " m=" << m;
    }
}

/// Eight bits are kept, ties go to the even one; one column of B picks each value of A out.
TEST(Bf16Operands, RoundsBothToNearestEven) {
  const float most = std::numeric_limits<float>::max(),
              inf = std::numeric_limits<float>::infinity();
  const std::vector<float> from = {257,  259,   -257, 256.9f, 257.1f, 1 + 1.0f / 256,
                                   most, -most, inf};
  const std::vector<float> to = {256, 260, -256, 256, 258, 1, inf, -inf, inf};
  const auto count = static_cast<int64_t>(from.size());
  const std::vector<float> one = {1};
  for (const Kernels* table : vector_tables())
    for (const bool left : {false, true}) {
      std::vector<float> c(from.size());
      table->matmul({.m = left ? count : 1,
                     .n = left ? 1 : count,
                     .k = 1,
                     .a = {(left ? from : one).data(), 1},
                     .b = {(left ? one : from).data(), 1},
                     .trans_b = true,
                     .c = c.data(),
                     .ldc = left ? 1 : count,
                     .operands = Operands::bf16});
      EXPECT_EQ(c, to) << table->name << " left " << left;
    }
}

TEST(Bf16Operands, NanStaysNan) {
  // The bits of this one would carry into the sign.
  const uint32_t bits = 0x7fffffff;
  float nan = 0, one = 1, c = 0;
  std::memcpy(&nan, &bits, sizeof nan);
  for (const Kernels* table : vector_tables()) {
    table->matmul({.m = 1,
                   .n = 1,
                   .k = 1,
                   .a = {&nan, 1},
                   .b = {&one, 1},
                   .trans_b = true,
                   .c = &c,
                   .ldc = 1,
                   .operands = Operands::bf16});
    EXPECT_TRUE(std::isnan(c)) << table->name;
  }
}

/// Without an instruction for pairs, the sums are those of the rounded operands in f32, to the bit.
TEST(Bf16Operands, WithoutADotIsTheF32ChainOfRoundedOperands) {
  for (const Kernels* table : vector_tables()) {
    if (std::strcmp(table->name, "avx2") != 0) continue;
    for (const int flags : {2, 2 | 4 | 8})
      for (const int64_t m : {1, 5, 100}) {
        Problem problem(m, 77, 531, flags, 3);
        const std::vector<float> found = problem.run(*table);
        for (std::vector<float>* matrix : {&problem.a, &problem.b})
          for (float& value : *matrix) value = rounded(value);
        problem.args.operands = Operands::f32;
        ASSERT_EQ(found, problem.run(*table)) << "m=" << m << " flags " << flags;
      }
  }
}

TEST(Bf16Operands, RowsDoNotDependOnCompanyOrThreads) {
  const int64_t shapes[][2] = {{96, 64}, {512, 256}, {130, 1031}, {40, 2048}};
  const int most = omp_get_max_threads();
  for (const auto& shape : shapes)
    for (const bool stored : {false, true}) {
      Problem problem(700, shape[0], shape[1], 2 | 8);
      if (stored) problem.store_bf16();
      for (const Kernels* table : vector_tables()) {
        problem.args.m = 700;
        const std::vector<float> all = problem.run(*table);
        for (const int64_t m : {1, 2, 3, 5, 8, 9, 14, 15, 31, 64, 333})
          for (const int threads : {1, 2, 3}) {
            omp_set_num_threads(threads);
            problem.args.m = m;
            const std::vector<float> some = problem.run(*table);
            ASSERT_EQ(0, std::memcmp(some.data(), all.data(),
                                     static_cast<size_t>(m * problem.args.ldc) * sizeof(float)))
                << table->name << " m=" << m << " threads=" << threads << " stored " << stored;
          }
        omp_set_num_threads(most);
      }
    }
}

/// What oneDNN makes of operands that are stored in bf16.
TEST(Bf16Operands, OneDnnAgrees) {
  for (const int flags : {0, 1, 4, 1 | 4, 2, 2 | 8}) {
    Problem problem(65, 70, 129, flags, 3);
    const std::vector<float> expected = problem.run(ref::kTable);
    const std::vector<uint16_t> a = in_bf16(problem.a), b = in_bf16(problem.b);
    problem.args.a = {a.data(), problem.args.a.ld()};
    problem.args.b = {b.data(), problem.args.b.ld()};
    std::vector<float> found = problem.c;
    problem.args.c = found.data();
    if (!onednn_matmul(problem.args)) {
      EXPECT_EQ(bf16_instructions(), nullptr);
      EXPECT_EQ(found, problem.c);
      GTEST_SKIP() << "oneDNN has no products of bf16 for this processor";
    }
    for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 6e-5f) << flags;
  }
}

using Kind = GroupedMatmul::Kind;

/// Experts of uneven sizes, rows gathered from a larger matrix or in place.
struct Experts {
  std::vector<int64_t> offsets = {0, 5, 5, 38, 39, 100};
  std::vector<int32_t> gather;
  std::vector<float> a, b, x;
  GroupedMatmul args;

  Experts(Kind kind, int64_t n, int64_t k, bool gathered) {
    const int64_t groups = 5, rows = 100, lda = kind == Kind::forward ? k : n;
    for (int32_t i = 0; i < rows; ++i) gather.push_back(i * 7 % 60);
    a = noise(static_cast<size_t>(rows * lda), 1);
    b = noise(static_cast<size_t>(groups * n * k), 2);
    x = noise(static_cast<size_t>(rows * k), 3);
    args = {.kind = kind,
            .groups = groups,
            .rows = rows,
            .n = n,
            .k = k,
            .offsets = offsets.data(),
            .a = {a.data(), lda},
            .gather_a = gathered ? gather.data() : nullptr,
            .ldc = kind == Kind::forward ? n : k,
            .accumulate = kind == Kind::grad_weight,
            .operands = Operands::bf16};
    if (kind == Kind::grad_weight) {
      args.x = {x.data(), k};
      args.gather_x = args.gather_a;
    } else {
      args.b = {b.data(), k};
    }
  }
  /// C, then the activation.
  std::vector<float> run(const Kernels& table) {
    const bool weight = args.kind == Kind::grad_weight;
    std::vector<float> c =
        noise(static_cast<size_t>((weight ? args.groups * args.n : args.rows) * args.ldc), 4);
    std::vector<float> act(static_cast<size_t>(args.rows * (args.n / 2)));
    args.c = c.data();
    args.swiglu = args.kind == Kind::forward ? act.data() : nullptr;
    table.grouped_matmul(args);
    c.insert(c.end(), act.begin(), act.end());
    return c;
  }
};

TEST(Bf16Operands, ExpertsAgreeWithTheReference) {
  const int64_t shapes[][2] = {{38, 51}, {96, 64}, {70, 301}};
  for (const auto& shape : shapes)
    for (const Kind kind : {Kind::forward, Kind::grad_input, Kind::grad_weight})
      for (const bool gathered : {false, true}) {
        Experts experts(kind, shape[0], shape[1], gathered);
        const std::vector<float> expected = experts.run(ref::kTable);
        for (const Kernels* table : vector_tables()) {
          const std::vector<float> found = experts.run(*table);
          for (size_t i = 0; i < found.size(); ++i)
            ASSERT_NEAR(found[i], expected[i], 2e-5f * (5 + std::abs(expected[i])))
                << table->name << " kind " << static_cast<int>(kind) << " n=" << shape[0]
                << " k=" << shape[1] << " gathered " << gathered << " at " << i;
        }
      }
}

/// An expert's rows have the bits of a dense product with its weights.
TEST(Bf16Operands, ExpertsAreDenseProducts) {
  Experts experts(Kind::forward, 70, 301, false);
  for (const Kernels* table : vector_tables()) {
    const std::vector<float> all = experts.run(*table);
    for (size_t g = 0; g + 1 < experts.offsets.size(); ++g)
      for (int64_t row = experts.offsets[g]; row < experts.offsets[g + 1]; ++row) {
        std::vector<float> c(70);
        table->matmul({.m = 1,
                       .n = 70,
                       .k = 301,
                       .a = experts.args.a.from_row(row),
                       .b = experts.args.b.from_row(static_cast<int64_t>(g) * 70),
                       .trans_b = true,
                       .c = c.data(),
                       .ldc = 70,
                       .operands = Operands::bf16});
        ASSERT_EQ(0, std::memcmp(c.data(), all.data() + row * 70, 70 * sizeof(float)))
            << table->name << " row " << row;
      }
  }
}

}  // namespace
}  // namespace um
