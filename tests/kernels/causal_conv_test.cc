// The causal convolution: forward and gradient, backends against the reference, and the same bits
// from the batch and from a past.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

/// Sequences of these lengths without a past; the first taps - 1 rows have no convolution.
std::vector<int32_t> sources(const std::vector<int64_t>& lengths, int64_t taps) {
  std::vector<int32_t> all;
  int64_t first = 0;
  for (const int64_t length : lengths) {
    for (int64_t i = 0; i < length; ++i)
      for (int64_t j = i - taps + 1; j < i; ++j)
        all.push_back(i < taps - 1 ? CausalConv::kNoSource : static_cast<int32_t>(first + j));
    first += length;
  }
  return all;
}

struct Case {
  OpHarness h;
  CausalConv forward;
  CausalConvGrad backward;

  Case(const std::vector<int64_t>& lengths, int64_t channels, int64_t beside, int64_t taps,
       bool accumulate) {
    int64_t rows = 0;
    for (const int64_t length : lengths) rows += length;
    const int64_t cols = channels + beside, ld = cols + 3;
    forward = {.rows = rows,
               .cols = cols,
               .channels = channels,
               .taps = taps,
               .x = h.input(rows * ld),
               .ldx = ld,
               .weight = h.input(channels * taps),
               .sources = h.input(sources(lengths, taps)),
               .y = h.output(rows * ld),
               .ldy = ld};
    backward = {.forward = forward,
                .dy = h.input(rows * ld),
                .dx = h.output(rows * cols),
                .accumulate_dx = accumulate,
                .dweight = h.output(channels * taps),
                .accumulate_dweight = accumulate};
  }
  void run(const Kernels& k) const {
    k.causal_conv(forward);
    k.causal_conv_grad(backward);
  }
};

TEST(CausalConvKernel, Parity) {
  for (const int64_t channels : kOddSizes)
    for (const int64_t taps : {2, 3, 5}) {
      SCOPED_TRACE(testing::Message() << channels << " channels, " << taps << " taps");
      Case c({1, 2, 150, 0, 4}, channels, channels % 5, taps, taps == 3);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 20);
    }
}

TEST(CausalConvKernel, Gradient) {
  Case c({5, 1, 7}, 9, 2, 3, false);
  // Rows have gaps, which have no gradient: as one dense matrix.
  c.forward.ldx = c.forward.ldy = c.forward.cols;
  c.backward.forward = c.forward;
  c.h.expect_gradient(
      [&](const Kernels& k) { k.causal_conv(c.forward); },
      [&](const Kernels& k) { k.causal_conv_grad(c.backward); },
      {{c.forward.x, c.backward.dx, 13 * 11}, {c.forward.weight, c.backward.dweight, 9 * 3}},
      {{c.forward.y, c.backward.dy, 13 * 11}});
}

/// What comes out must not depend on whether the rows before are in the batch or in a cache.
TEST(CausalConvKernel, APastHasTheSameBits) {
  Case c({40}, 33, 4, 3, false);
  for (const Kernels* k : vector_tables()) {
    k->causal_conv(c.forward);
    const int64_t ld = c.forward.ldy;
    const std::vector<float> whole(c.forward.y, c.forward.y + 40 * ld);
    for (int64_t row = 2; row < 40; ++row) {
      const std::vector<int32_t> before{-1 - static_cast<int32_t>(row - 2),
                                        -1 - static_cast<int32_t>(row - 1)};
      CausalConv one = c.forward;
      one.rows = 1;
      one.x += row * ld;
      one.past = c.forward.x;
      one.ld_past = ld;
      one.sources = before.data();
      one.y += row * ld;
      k->causal_conv(one);
      EXPECT_EQ(std::memcmp(one.y, whole.data() + row * ld, sizeof(float) * 37), 0) << row;
    }
  }
}

TEST(CausalConvKernel, Bits) {
  Case c({200, 100}, 130, 6, 3, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
}

}  // namespace
}  // namespace um::test
