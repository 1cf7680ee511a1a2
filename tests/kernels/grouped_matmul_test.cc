// Expert matmuls: every instruction set against the reference over uneven and empty groups, and
// the same bits as the dense matmul of each group.
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "kernels/kernels.h"
#include "tests/kernels/harness_util.h"

namespace um {
namespace {

using test::vector_tables;

using Kind = GroupedMatmul::Kind;

std::vector<float> noise(size_t count, int seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(count);
  for (float& value : x) value = uniform(rng);
  return x;
}

struct Case {
  Kind kind;
  std::vector<int64_t> sizes;  // rows of each group
  int64_t n, k;
  bool gather = false, swiglu = false, accumulate = false;
  bool bf16 = false;
};

/// One problem over `sizes`; rows of a and x are scattered over a larger matrix when `gather`.
struct Problem {
  GroupedMatmul args;
  int64_t lda;
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> gather_a, gather_x;
  std::vector<float> a, b, x, c, act;
  std::vector<uint16_t> b_bf16;

  explicit Problem(const Case& test) {
    for (const int64_t size : test.sizes) offsets.push_back(offsets.back() + size);
    args.kind = test.kind;
    args.groups = static_cast<int64_t>(test.sizes.size());
    args.rows = offsets.back();
    args.n = test.n;
    args.k = test.k;
    args.offsets = offsets.data();
    args.accumulate = test.accumulate;
    const int64_t source = args.rows / 2 + 3;
    for (int64_t i = 0; i < args.rows; ++i) {
      gather_a.push_back(static_cast<int32_t>(i * 7 % source));
      gather_x.push_back(static_cast<int32_t>(i * 5 % source));
    }
    const int64_t stored = test.gather ? source : args.rows;
    const bool weight = test.kind == Kind::grad_weight;
    lda = (test.kind == Kind::forward ? test.k : test.n) + 3;
    const int64_t ldx = test.k + 1;
    args.ldc = (test.kind == Kind::forward ? test.n : test.k) + 2;
    a = noise(stored * lda + 1, 1);
    b = noise(args.groups * test.n * test.k + 1, 2);
    x = noise(stored * ldx + 1, 3);
    c = noise((weight ? args.groups * test.n : args.rows) * args.ldc + 1, 4);
    act = noise(args.rows * (test.n / 2) + 1, 5);
    args.a = {a.data(), lda};
    if (!weight) args.b = {b.data(), test.k};
    if (test.bf16) store_bf16();
    if (weight) args.x = {x.data(), ldx};
    if (test.gather) args.gather_a = gather_a.data();
    if (test.gather && weight) args.gather_x = gather_x.data();
    if (test.swiglu) args.swiglu = act.data();
  }
  /// Rounds b to bf16 and passes that; b keeps the same values in f32.
  void store_bf16() {
    for (float& value : b) {
      b_bf16.push_back(bf16_from_f32(value));
      value = f32_from_bf16(b_bf16.back());
    }
    args.b = {b_bf16.data(), args.k};
  }
  /// C, then the activation.
  std::vector<float> run(const Kernels& table) {
    std::vector<float> result = c, result_act = act;
    args.c = result.data();
    if (args.swiglu != nullptr) args.swiglu = result_act.data();
    table.grouped_matmul(args);
    result.insert(result.end(), result_act.begin(), result_act.end());
    return result;
  }
};

void check_one(const Case& test) {
  Problem problem(test);
  const std::vector<float> expected = problem.run(ref::kTable);
  for (const Kernels* table : vector_tables()) {
    const std::vector<float> found = problem.run(*table);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], 2e-5f * (5 + std::abs(expected[i])))
          << table->name << " kind " << static_cast<int>(test.kind) << " n=" << test.n
          << " k=" << test.k << " at " << i;
    }
  }
}

/// With weights in f32 and in bf16.
void check(Case test) {
  check_one(test);
  test.bf16 = test.kind != Kind::grad_weight;
  if (test.bf16) check_one(test);
}

const std::vector<std::vector<int64_t>> kSizes = {
    {1},          {0, 0, 0},     {3, 0, 1, 0},         {0, 14, 15, 1, 0, 2},
    {70, 0, 129}, {5, 33, 0, 1}, {0, 0, 200, 0, 13, 0}};

TEST(GroupedMatmul, EveryKindWithUnevenAndEmptyGroups) {
  for (const auto& sizes : kSizes) {
    for (const Kind kind : {Kind::forward, Kind::grad_input, Kind::grad_weight}) {
      for (const bool gather : {false, true}) {
        check({kind, sizes, 38, 51, gather});
        check({kind, sizes, 96, 64, gather});
        check({kind, sizes, 70, 300, gather, false, kind == Kind::grad_weight});
      }
    }
  }
}

TEST(GroupedMatmul, SwigluOfOddHalvesAndManyBlocks) {
  for (const auto& sizes : kSizes) {
    for (const int64_t n : {2, 34, 64, 130, 1400}) {
      check({Kind::forward, sizes, n, 45, true, true});
    }
    check({Kind::forward, sizes, 62, 600, false, true});
  }
}

TEST(GroupedMatmul, NoGroupsNoRowsNoDepth) {
  check({Kind::forward, {}, 8, 8});
  check({Kind::forward, {4, 20}, 8, 0, false, true});
  check({Kind::grad_input, {4, 20}, 0, 8});
  check({Kind::grad_weight, {4, 0}, 0, 8});
}

void check_same_bits_as_dense(bool bf16) {
  const int64_t n = 224, k = 333;
  Problem problem({Kind::forward, {700, 0, 3, 14, 31, 1, 90}, n, k, true, true, false, bf16});
  const int most = omp_get_max_threads();
  for (const Kernels* table : vector_tables()) {
    const std::vector<float> all = problem.run(*table);
    for (const int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      ASSERT_EQ(problem.run(*table), all) << table->name << " threads=" << threads;
    }
    omp_set_num_threads(most);
    for (int64_t g = 0; g < problem.args.groups; ++g) {
      for (int64_t slot = problem.offsets[g]; slot < problem.offsets[g + 1]; ++slot) {
        std::vector<float> row(n);
        Matmul dense;
        dense.m = 1;
        dense.n = n;
        dense.k = k;
        dense.a = problem.args.a.from_row(problem.gather_a[slot]);
        dense.b = problem.args.b.from_row(g * n);
        dense.trans_b = true;
        dense.c = row.data();
        dense.ldc = n;
        table->matmul(dense);
        const auto found = all.begin() + slot * problem.args.ldc;
        ASSERT_TRUE(std::equal(row.begin(), row.end(), found)) << table->name << " slot " << slot;
      }
    }
    // The activation of a row alone (as in decode) has the bits it has in company.
    const int64_t last = problem.args.rows - 1, group = problem.args.groups - 1;
    std::vector<int64_t> alone(problem.offsets.size(), 0);
    alone.back() = 1;
    GroupedMatmul one = problem.args;
    std::vector<float> row(problem.args.ldc), act(n / 2);
    one.offsets = alone.data();
    one.rows = 1;
    one.gather_a = problem.gather_a.data() + last;
    one.c = row.data();
    one.swiglu = act.data();
    table->grouped_matmul(one);
    const auto found = all.begin() + static_cast<int64_t>(problem.c.size()) + last * (n / 2);
    ASSERT_TRUE(std::equal(act.begin(), act.end(), found)) << table->name << " group " << group;
  }
}

TEST(GroupedMatmul, SameBitsAsDenseWhateverTheGroupAndThreads) {
  check_same_bits_as_dense(false);
}

TEST(GroupedMatmul, Bf16HasTheBitsOfDenseWhateverTheGroupAndThreads) {
  check_same_bits_as_dense(true);
}

TEST(GroupedMatmul, Bf16IsItsF32ToTheBit) {
  for (const auto& sizes : kSizes) {
    for (const Kind kind : {Kind::forward, Kind::grad_input}) {
      for (const int64_t k : {51, 64, 300}) {
        Problem problem({kind, sizes, 70, k, true, kind == Kind::forward});
        problem.store_bf16();
        for (const Kernels* table : vector_tables()) {
          problem.args.b = {problem.b.data(), k};
          const std::vector<float> wide = problem.run(*table);
          problem.args.b = {problem.b_bf16.data(), k};
          ASSERT_EQ(problem.run(*table), wide) << table->name << " k=" << k;
        }
      }
    }
  }
}

/// Experts that nobody chose are not read: here their weights are pages that nobody may touch.
TEST(GroupedMatmul, OnlyChosenExpertsAreRead) {
  constexpr int64_t kN = 64, kK = 96, kGroups = 5, kChosen = 2;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  ASSERT_EQ(kN * kK * 2 % static_cast<int64_t>(page), 0);
  const size_t bytes = kN * kK * 2;
  void* memory = ::mmap(nullptr, kGroups * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* b = static_cast<uint16_t*>(memory);
  ASSERT_EQ(::mprotect(b + kChosen * kN * kK, bytes, PROT_READ | PROT_WRITE), 0);
  std::fill_n(b + kChosen * kN * kK, kN * kK, bf16_from_f32(1));
  const std::vector<int64_t> offsets = {0, 0, 0, 2, 2, 2};
  const std::vector<float> a(2 * kK, 1);
  for (const Kernels* table : vector_tables()) {
    std::vector<float> c(2 * kN);
    GroupedMatmul args;
    args.groups = kGroups;
    args.rows = 2;
    args.n = kN;
    args.k = kK;
    args.offsets = offsets.data();
    args.a = {a.data(), kK};
    args.b = {b, kK};
    args.c = c.data();
    args.ldc = kN;
    table->grouped_matmul(args);
    EXPECT_EQ(c, std::vector<float>(2 * kN, kK)) << table->name;
  }
  ::munmap(memory, kGroups * bytes);
}

}  // namespace
}  // namespace um
