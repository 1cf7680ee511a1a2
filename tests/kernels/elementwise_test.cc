// Add, strided copy, bias gradient, sum of squares, AdamW.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

const std::vector<int64_t> kCounts{0, 1, 3, 15, 16, 17, 33, 100, 1023, 70001};

TEST(AddKernel, ParityAndInPlace) {
  for (int64_t count : kCounts) {
    OpHarness h;
    const Add a{.count = count, .a = h.input(count), .b = h.input(count), .y = h.output(count)};
    h.expect_parity([&](const Kernels& k) { k.add(a); }, 0);
    const Add in_place{.count = count, .a = a.y, .b = a.b, .y = a.y};
    h.expect_parity([&](const Kernels& k) { k.add(in_place); }, 0);
    const Add doubled{.count = count, .a = a.y, .b = a.y, .y = a.y};
    h.expect_parity([&](const Kernels& k) { k.add(doubled); }, 0);
  }
}

TEST(CopyBlocksKernel, ParityAndBits) {
  for (int64_t rows : {0, 1, 5, 300}) {
    for (int64_t width : kOddSizes) {
      OpHarness h;
      const int64_t ldx = 3 * (width + 2), ldy = 3 * (width + 5) + 1;
      const CopyBlocks a{.rows = rows,
                         .blocks = 3,
                         .width = width,
                         .x = h.input(rows * ldx),
                         .ldx = ldx,
                         .block_x = width + 2,
                         .y = h.output(rows * ldy),
                         .ldy = ldy,
                         .block_y = width + 5};
      h.expect_parity([&](const Kernels& k) { k.copy_blocks(a); }, 0);
      h.expect_same_bits_for_threads([&](const Kernels& k) { k.copy_blocks(a); });
    }
  }
}

/// y[i] = x[rows_x[i]] and y[rows_y[i]] = x[i], each row in its place and nothing else written.
TEST(CopyBlocksKernel, GathersAndScatters) {
  for (int64_t rows : {1, 7, 400}) {
    OpHarness h;
    const int64_t pool = 2 * rows, width = 33, ld = 40;
    std::vector<int32_t> slots(static_cast<size_t>(pool));
    std::iota(slots.begin(), slots.end(), 0);
    std::shuffle(slots.begin(), slots.end(), h.random());
    slots.resize(static_cast<size_t>(rows));
    const int32_t* where = h.input(slots);
    const float* x = h.input(pool * ld);
    float* y = h.output(pool * ld);
    for (const bool scatter : {false, true}) {
      const CopyBlocks a{.rows = rows,
                         .width = width,
                         .x = x,
                         .ldx = ld,
                         .y = y,
                         .ldy = ld,
                         .rows_x = scatter ? nullptr : where,
                         .rows_y = scatter ? where : nullptr};
      h.expect_parity([&](const Kernels& k) { k.copy_blocks(a); }, 0);
      h.expect_same_bits_for_threads([&](const Kernels& k) { k.copy_blocks(a); });
      ref::kTable.copy_blocks(a);
      for (int64_t i = 0; i < rows; ++i) {
        const float *from = x + (scatter ? i : where[i]) * ld,
                    *to = y + (scatter ? where[i] : i) * ld;
        EXPECT_TRUE(std::equal(from, from + width, to)) << scatter << " row " << i;
      }
    }
  }
}

TEST(BiasGradKernel, Parity) {
  for (int64_t cols : kOddSizes) {
    for (int64_t rows : {0, 1, 63, 64, 65, 500}) {
      for (bool accumulate : {false, true}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << cols << ", " << accumulate);
        OpHarness h;
        const BiasGrad a{.rows = rows,
                         .cols = cols,
                         .dy = h.input(rows * (cols + 2)),
                         .ld = cols + 2,
                         .dbias = h.output(cols),
                         .accumulate = accumulate};
        h.expect_parity([&](const Kernels& k) { k.bias_grad(a); }, 1e-5);
      }
    }
  }
}

TEST(BiasGradKernel, SameBitsForThreads) {
  OpHarness h;
  const BiasGrad a{.rows = 500,
                   .cols = 300,
                   .dy = h.input(500 * 300),
                   .ld = 300,
                   .dbias = h.output(300),
                   .accumulate = true};
  h.expect_same_bits_for_threads([&](const Kernels& k) { k.bias_grad(a); });
}

TEST(SumSquaresKernel, ParityAndBits) {
  for (int64_t count : {0, 1, 17, 16384, 16385, 200001}) {
    OpHarness h;
    const SumSquares a{.count = count, .x = h.input(count), .result = h.output_f64(1)};
    h.expect_parity([&](const Kernels& k) { k.sum_squares(a); }, 1e-13);
    h.expect_same_bits_for_threads([&](const Kernels& k) { k.sum_squares(a); });
  }
}

TEST(SumSquaresKernel, DoesNotOverflowF32) {
  OpHarness h;
  const SumSquares a{.count = 40, .x = h.input(40, 0, 1e30f), .result = h.output_f64(1)};
  h.expect_parity([&](const Kernels& k) { k.sum_squares(a); }, 1e-13);
  EXPECT_NEAR(*a.result, 40e60, 1e55);
}

AdamW adamw_case(OpHarness& h, int64_t count) {
  AdamW a{.count = count,
          .param = h.output(count),
          .m = h.output(count),
          .v = h.input(count, 0, 0.5f),
          .grad = h.input(count),
          .lr = 1e-2f,
          .beta1 = 0.9f,
          .beta2 = 0.95f,
          .eps = 1e-8f,
          .weight_decay = 0.1f,
          .correction1 = 1 - std::pow(0.9f, 3.0f),
          .correction2 = 1 - std::pow(0.95f, 3.0f),
          .grad_scale = 0.7f};
  return a;
}

TEST(AdamWKernel, ParityAndBits) {
  for (int64_t count : kCounts) {
    SCOPED_TRACE(count);
    OpHarness h;
    AdamW a = adamw_case(h, count);
    float *v = h.output(count), *start = a.v;
    a.v = v;  // an output that starts with second moments, which are positive
    auto run = [&](const Kernels& k) {
      std::copy_n(start, count, v);
      k.adamw(a);
    };
    h.expect_parity(run, 5e-7);
    h.expect_same_bits_for_threads(run);
  }
}

TEST(AdamWKernel, FirstStepMovesByTheLearningRate) {
  OpHarness h;
  AdamW a{.count = 3,
          .param = h.output(3),
          .m = h.output(3),
          .v = h.output(3),
          .grad = h.input(std::vector<float>{2, -0.5f, 0}),
          .lr = 0.25f,
          .beta1 = 0.9f,
          .beta2 = 0.95f,
          .eps = 1e-8f,
          .weight_decay = 0.5f,
          .correction1 = 1 - 0.9f,
          .correction2 = 1 - 0.95f};
  auto run = [&](const Kernels& k) {
    for (int i = 0; i < 3; ++i) a.param[i] = 1, a.m[i] = a.v[i] = 0;
    k.adamw(a);
  };
  h.expect_parity(run);
  EXPECT_NEAR(a.param[0], 1 - 0.25 * (1 + 0.5), 1e-6);
  EXPECT_NEAR(a.param[1], 1 - 0.25 * (-1 + 0.5), 1e-6);
  EXPECT_NEAR(a.param[2], 1 - 0.25 * 0.5, 1e-6);
  EXPECT_NEAR(a.m[0], 0.2, 1e-6);
  EXPECT_NEAR(a.v[0], 0.2, 1e-6);
}

}  // namespace
}  // namespace um::test
