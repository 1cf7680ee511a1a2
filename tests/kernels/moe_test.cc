// Permute, combine and scatter: by hand, backends against the reference, gradients.
#include <gtest/gtest.h>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

MoePermute permute_case(OpHarness& h, int64_t tokens, int64_t experts, int64_t top_k,
                        const int32_t* ids) {
  const int64_t count = tokens * top_k;
  return {.tokens = tokens,
          .experts = experts,
          .top_k = top_k,
          .ids = ids,
          .offsets = h.output_i64(experts + 1),
          .assignment = h.output_i32(count),
          .token = h.output_i32(count),
          .slot = h.output_i32(count)};
}

TEST(MoePermuteKernel, ByHand) {
  OpHarness h;
  const int32_t* ids = h.input(std::vector<int32_t>{3, 0, 0, 1, 3, 1});
  const MoePermute a = permute_case(h, 3, 5, 2, ids);
  h.expect_parity([&](const Kernels& k) { k.moe_permute(a); });
  EXPECT_EQ(std::vector<int64_t>(a.offsets, a.offsets + 6),
            (std::vector<int64_t>{0, 2, 4, 4, 6, 6}));
  EXPECT_EQ(std::vector<int32_t>(a.assignment, a.assignment + 6),
            (std::vector<int32_t>{1, 2, 3, 5, 0, 4}));
  EXPECT_EQ(std::vector<int32_t>(a.token, a.token + 6), (std::vector<int32_t>{0, 1, 1, 2, 0, 2}));
  EXPECT_EQ(std::vector<int32_t>(a.slot, a.slot + 6), (std::vector<int32_t>{4, 0, 1, 2, 5, 3}));
}

TEST(MoePermuteKernel, ParityAndBits) {
  for (int64_t tokens : {0, 1, 7, 3000}) {
    for (int64_t experts : {1, 8, 100}) {
      OpHarness h;
      const MoePermute a =
          permute_case(h, tokens, experts, 3, h.random_ids(tokens * 3, (experts + 1) / 2));
      h.expect_parity([&](const Kernels& k) { k.moe_permute(a); });
      h.expect_same_bits_for_threads([&](const Kernels& k) { k.moe_permute(a); });
    }
  }
}

struct Case {
  OpHarness h;
  MoeCombine combine;
  MoeScatter scatter;
  Case(int64_t tokens, int64_t top_k, int64_t cols, bool base, bool accumulate) {
    const int64_t count = tokens * top_k;
    const MoePermute p = permute_case(h, tokens, 5, top_k, h.random_ids(count, 5));
    ref::kTable.moe_permute(p);
    const int32_t* slot = h.input(std::vector<int32_t>(p.slot, p.slot + count));
    combine = {.tokens = tokens,
               .top_k = top_k,
               .cols = cols,
               .y = h.input(count * cols),
               .slot = slot,
               .weights = h.input(count),
               .base = base ? h.input(tokens * cols) : nullptr,
               .out = h.output(tokens * cols)};
    scatter = {.tokens = tokens,
               .top_k = top_k,
               .cols = cols,
               .dslots = combine.y,
               .slot = slot,
               .dx = h.output(tokens * cols),
               .accumulate = accumulate};
  }
};

TEST(MoeCombineKernel, Parity) {
  for (int64_t cols : kOddSizes) {
    for (int64_t tokens : {0, 1, 60}) {
      for (int64_t top_k : {1, 2, 8}) {
        Case c(tokens, top_k, cols, top_k != 2, cols % 2);
        c.h.expect_parity([&](const Kernels& k) { k.moe_combine(c.combine); }, 2e-6, 1);
        c.h.expect_parity([&](const Kernels& k) { k.moe_scatter(c.scatter); }, 2e-6, 1);
      }
    }
  }
}

TEST(MoeCombineKernel, Bits) {
  Case c(150, 4, 100, true, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) {
    k.moe_combine(c.combine);
    k.moe_scatter(c.scatter);
  });
  c.h.expect_rows_independent(150, [&](const Kernels& k, int64_t first, int64_t count) {
    MoeCombine a = c.combine;
    a.tokens = count;
    a.slot += first * 4, a.weights += first * 4, a.base += first * 100, a.out += first * 100;
    k.moe_combine(a);
    MoeScatter b = c.scatter;
    b.tokens = count, b.slot += first * 4, b.dx += first * 100;
    k.moe_scatter(b);
  });
}

// Scatter is the gradient of the gather x[token[slot]].
TEST(MoeScatterKernel, Gradient) {
  OpHarness h;
  const MoePermute p = permute_case(h, 6, 4, 2, h.random_ids(12, 4));
  ref::kTable.moe_permute(p);
  const int32_t* slot = h.input(std::vector<int32_t>(p.slot, p.slot + 12));
  const std::vector<int32_t> token(p.token, p.token + 12);
  float *x = h.input(6 * 5), *rows = h.output(12 * 5), *dx = h.output(6 * 5);
  const float* drows = h.input(12 * 5);
  const MoeScatter a{.tokens = 6, .top_k = 2, .cols = 5, .dslots = drows, .slot = slot, .dx = dx};
  h.expect_gradient(
      [&](const Kernels&) {
        for (int64_t i = 0; i < 12 * 5; ++i) rows[i] = x[token[i / 5] * 5 + i % 5];
      },
      [&](const Kernels& k) { k.moe_scatter(a); }, {{x, dx, 30}}, {{rows, drows, 60}});
}

}  // namespace
}  // namespace um::test
