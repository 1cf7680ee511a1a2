// Dense matmul: every instruction set against the reference, and the promise that a row's bits do
// not depend on how many rows or threads there are; b in f32 and in bf16.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
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

struct Case {
  int64_t m, n, k;
  bool trans_a, trans_b, accumulate, bias;
  int64_t batch = 1, pad = 0;
  bool bf16 = false;
};

/// Runs one case with padded rows; returns C with its padding.
struct Problem {
  Matmul args;
  int64_t lda, ldb;
  std::vector<float> a, b, c, bias;
  std::vector<uint16_t> b_bf16;

  explicit Problem(const Case& x) {
    args.m = x.m;
    args.n = x.n;
    args.k = x.k;
    args.trans_a = x.trans_a;
    args.trans_b = x.trans_b;
    args.accumulate = x.accumulate;
    args.batch = x.batch;
    lda = (x.trans_a ? x.m : x.k) + x.pad;
    ldb = (x.trans_b ? x.k : x.n) + x.pad;
    args.ldc = x.n + x.pad;
    args.stride_a = (x.trans_a ? x.k : x.m) * lda + x.pad;
    args.rows_b = (x.trans_b ? x.n : x.k) + x.pad;
    args.stride_c = x.m * args.ldc + x.pad;
    a = noise(x.batch * args.stride_a + 1, 1);
    b = noise(x.batch * args.rows_b * ldb + 1, 2);
    c = noise(x.batch * args.stride_c + 1, 3);
    bias = noise(x.n, 4);
    args.a = {a.data(), lda};
    args.b = {b.data(), ldb};
    if (x.bf16) store_bf16();
    args.bias = x.bias ? bias.data() : nullptr;
  }
  /// Rounds b to bf16 and passes that; b keeps the same values in f32.
  void store_bf16() {
    for (float& value : b) {
      b_bf16.push_back(bf16_from_f32(value));
      value = f32_from_bf16(b_bf16.back());
    }
    args.b = {b_bf16.data(), ldb};
  }
  std::vector<float> run(const Kernels& table) {
    std::vector<float> result = c;
    args.c = result.data();
    table.matmul(args);
    return result;
  }
};

void check_one(const Case& x) {
  Problem problem(x);
  const std::vector<float> expected = problem.run(ref::kTable);
  const float tolerance = 1e-6f * (2 + std::sqrt(static_cast<float>(x.k))) * 4;
  for (const Kernels* table : vector_tables()) {
    const std::vector<float> found = problem.run(*table);
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], tolerance)
          << table->name << " m=" << x.m << " n=" << x.n << " k=" << x.k << " trans " << x.trans_a
          << x.trans_b << " accumulate " << x.accumulate << " bias " << x.bias << " bf16 " << x.bf16
          << " at " << i;
    }
  }
}

/// With b in f32 and in bf16.
void check(Case x) {
  for (const bool bf16 : {false, true}) {
    x.bf16 = bf16;
    check_one(x);
  }
}

TEST(Matmul, EveryFlagAtOddSizes) {
  const int64_t sizes[][3] = {{1, 1, 1},    {1, 37, 19},  {2, 64, 16},   {5, 33, 40},
                              {7, 129, 65}, {8, 100, 31}, {13, 31, 33},  {14, 32, 48},
                              {15, 47, 50}, {29, 70, 17}, {61, 95, 300}, {130, 600, 33}};
  for (const auto& s : sizes) {
    for (int flags = 0; flags < 16; ++flags) {
      check({s[0], s[1], s[2], (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0,
             (flags & 8) != 0});
      check({s[0], s[1], s[2], (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0,
             (flags & 8) != 0, 3, 5});
    }
  }
}

TEST(Matmul, EverySmallRowCount) {
  for (int64_t m = 1; m <= 30; ++m) {
    check({m, 50, 37, false, true, false, true});
    check({m, 150, 20, false, false, true, false});
    check({m, 33, 40, true, false, false, false});
  }
}

TEST(Matmul, LargeEnoughForEveryBlock) {
  check({150, 1100, 600, false, true, true, true});
  check({300, 200, 700, true, false, false, false});
  check({257, 530, 513, false, false, false, false, 1, 3});
}

TEST(Matmul, NoRowsOrNoColumnsOrNoDepth) {
  for (int flags = 0; flags < 16; ++flags) {
    const bool ta = flags & 1, tb = flags & 2, accumulate = flags & 4, bias = flags & 8;
    check({0, 5, 7, ta, tb, accumulate, bias});
    check({5, 0, 7, ta, tb, accumulate, bias});
    check({5, 7, 0, ta, tb, accumulate, bias});
    check({40, 7, 0, ta, tb, accumulate, bias});
    check({5, 7, 3, ta, tb, accumulate, bias, 0});
  }
}

TEST(Matmul, OneDnnAgreesAndDeclinesWhatItDoesNotTake) {
  for (int flags = 0; flags < 16; ++flags) {
    const bool accumulate = (flags & 4) != 0, bias = (flags & 8) != 0;
    for (const int64_t k : {0, 1, 70}) {
      Problem problem({37, 45, k, (flags & 1) != 0, (flags & 2) != 0, accumulate, bias, 1, 3});
      const std::vector<float> expected = problem.run(ref::kTable);
      std::vector<float> found = problem.c;
      problem.args.c = found.data();
      const bool taken = onednn_matmul(problem.args);
      EXPECT_EQ(taken, k > 0 && !(accumulate && bias)) << "k=" << k << " flags " << flags;
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(found[i], taken ? expected[i] : problem.c[i], 1e-5f) << "flags " << flags;
      }
    }
  }
}

/// The order the kernels promise, written down once more.
float sequential(const Problem& p, int64_t i, int64_t j) {
  float sum = p.args.accumulate ? p.c[i * p.args.ldc + j] : 0.0f;
  if (p.args.bias != nullptr) sum += p.args.bias[j];
  for (int64_t k = 0; k < p.args.k; ++k) {
    sum = std::fma(p.a[i * p.lda + k], p.b[j * p.ldb + k], sum);
  }
  return sum;
}

void check_chain(const Case& x) {
  Problem problem(x);
  for (const Kernels* table : vector_tables()) {
    const std::vector<float> found = problem.run(*table);
    for (int64_t i = 0; i < x.m; ++i) {
      for (int64_t j = 0; j < x.n; ++j) {
        ASSERT_EQ(found[i * problem.args.ldc + j], sequential(problem, i, j))
            << table->name << " m=" << x.m << " k=" << x.k << " bf16 " << x.bf16 << " at " << i
            << "," << j;
      }
    }
  }
}

TEST(Matmul, ForwardIsOneSequentialChain) {
  for (const int flags : {0, 1, 2, 3}) {
    const bool accumulate = (flags & 1) != 0, bf16 = (flags & 2) != 0;
    for (const int64_t m : {1, 3, 14, 15, 16, 100}) {
      check_chain({m, 77, 531, false, true, accumulate, true, 1, 0, bf16});
    }
    // Rows of B a multiple of 4096 bytes apart, which are copied while they are read.
    for (const int64_t pad : {0, 1, 3, 40}) {
      check_chain({35, 21, 2048 - pad, false, true, accumulate, true, 1, pad, bf16});
    }
  }
}

/// A bf16 b is the same matrix in f32, to the bit: in both layouts, by every path, for every number
/// of rows.
TEST(Matmul, Bf16IsItsF32ToTheBit) {
  for (const int64_t k : {1, 2, 15, 16, 31, 32, 33, 64, 95, 544, 1100}) {
    for (const bool trans_b : {false, true}) {
      for (const int64_t m : {1, 2, 3, 4, 5, 8, 9, 14, 15, 33}) {
        Problem problem({m, 75, k, false, trans_b, true, true, 2, 3});
        problem.store_bf16();
        for (const Kernels* table : vector_tables()) {
          problem.args.b = {problem.b.data(), problem.ldb};
          const std::vector<float> wide = problem.run(*table);
          problem.args.b = {problem.b_bf16.data(), problem.ldb};
          ASSERT_EQ(problem.run(*table), wide)
              << table->name << " m=" << m << " k=" << k << " nt " << trans_b;
        }
      }
    }
  }
}

TEST(Matmul, Bf16KeepsInfinitiesAndTinyValues) {
  const std::vector<uint16_t> b = {0x7f80, 0xff80, 0x0001, 0x8000, 0x3f80, 0x0080};
  const float one = 1;
  for (const Kernels* table : vector_tables()) {
    std::vector<float> c(b.size());
    table->matmul({.m = 1,
                   .n = 6,
                   .k = 1,
                   .a = {&one, 1},
                   .b = {b.data(), 1},
                   .trans_b = true,
                   .c = c.data(),
                   .ldc = 6});
    for (size_t i = 0; i < b.size(); ++i) EXPECT_EQ(c[i], f32_from_bf16(b[i])) << table->name;
  }
}

void check_company(bool bf16) {
  const int64_t shapes[][2] = {{96, 64}, {512, 256}, {1000, 700}, {130, 1031}, {40, 2048}};
  const int most = omp_get_max_threads();
  for (const auto& shape : shapes) {
    Problem problem({2100, shape[0], shape[1], false, true, false, true, 1, 0, bf16});
    for (const Kernels* table : vector_tables()) {
      problem.args.m = 2100;
      const std::vector<float> all = problem.run(*table);
      for (const int64_t m : {1, 2, 3, 5, 8, 13, 14, 15, 16, 17, 31, 64, 100, 333, 1024, 2047}) {
        for (const int threads : {1, 2, 3}) {
          omp_set_num_threads(threads);
          problem.args.m = m;
          const std::vector<float> some = problem.run(*table);
          ASSERT_EQ(0, std::memcmp(some.data(), all.data(), m * problem.args.ldc * sizeof(float)))
              << table->name << " m=" << m << " threads=" << threads;
        }
      }
      omp_set_num_threads(most);
    }
  }
}

TEST(Matmul, RowsDoNotDependOnCompanyOrThreads) {
  check_company(false);
}

TEST(Matmul, Bf16RowsDoNotDependOnCompanyOrThreads) {
  check_company(true);
}

}  // namespace
}  // namespace um
