// SwiGLU: forward, gradient, and the routing weight folded into the gradient.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

struct Case {
  OpHarness h;
  Swiglu forward;
  SwigluGrad backward;
  Case(int64_t rows, int64_t width, float scale = 3) {
    std::vector<int32_t> order(static_cast<size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), h.random());
    forward = {.rows = rows,
               .width = width,
               .h = h.input(rows * 2 * width, scale),
               .act = h.output(rows * width)};
    backward = {.rows = rows,
                .width = width,
                .h = forward.h,
                .dact = h.input(rows * width),
                .weight = h.input(rows),
                .assignment = h.input(order),
                .dh = h.output(rows * 2 * width),
                .weighted_act = h.output(rows * width),
                .dweight = h.output(rows)};
  }
  void run(const Kernels& k) const {
    k.swiglu(forward);
    k.swiglu_grad(backward);
  }
};

TEST(SwigluKernel, Parity) {
  for (int64_t width : kOddSizes) {
    for (int64_t rows : {0, 1, 65}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << width);
      Case c(rows, width);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 10);
    }
  }
}

TEST(SwigluKernel, LargeValuesStayFinite) {
  Case c(20, 33, 200);
  c.h.expect_parity([&](const Kernels& k) { c.run(k); });
}

TEST(SwigluKernel, OptionalArrays) {
  for (int missing = 0; missing < 4; ++missing) {
    SCOPED_TRACE(missing);
    Case c(20, 33);
    if (missing == 0) c.backward.weight = nullptr;
    if (missing == 1) c.backward.weighted_act = nullptr;
    if (missing == 2) c.backward.dweight = nullptr;
    if (missing == 3) {
      c.backward.weight = nullptr, c.backward.assignment = nullptr;
      c.backward.weighted_act = c.backward.dweight = nullptr;
    }
    c.h.expect_parity([&](const Kernels& k) { c.run(k); });
  }
}

TEST(SwigluKernel, Gradient) {
  Case c(4, 17, 1);
  c.backward.weight = nullptr;
  c.h.expect_gradient([&](const Kernels& k) { k.swiglu(c.forward); },
                      [&](const Kernels& k) { k.swiglu_grad(c.backward); },
                      {{c.forward.h, c.backward.dh, 4 * 34}},
                      {{c.forward.act, c.backward.dact, 4 * 17}});
}

// out = weight[assignment] * act: the gradient of the weight and of h through it.
TEST(SwigluKernel, GradientThroughTheRoutingWeight) {
  Case c(5, 9, 1);
  float* out = c.h.output(5 * 9);
  auto forward = [&](const Kernels& k) {
    k.swiglu(c.forward);
    for (int64_t i = 0; i < 5 * 9; ++i) {
      out[i] = c.backward.weight[c.backward.assignment[i / 9]] * c.forward.act[i];
    }
  };
  c.h.expect_gradient(
      forward, [&](const Kernels& k) { k.swiglu_grad(c.backward); },
      {{c.forward.h, c.backward.dh, 5 * 18}, {c.backward.weight, c.backward.dweight, 5}},
      {{out, c.backward.dact, 5 * 9}});
  forward(ref::kTable);
  ref::kTable.swiglu_grad(c.backward);
  for (int64_t i = 0; i < 5 * 9; ++i) EXPECT_NEAR(c.backward.weighted_act[i], out[i], 1e-5);
}

TEST(SwigluKernel, Bits) {
  Case c(150, 150);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
  c.h.expect_rows_independent(150, [&](const Kernels& k, int64_t first, int64_t count) {
    Swiglu f = c.forward;
    f.rows = count, f.h += first * 300, f.act += first * 150;
    k.swiglu(f);
    SwigluGrad b = c.backward;
    b.rows = count, b.h += first * 300, b.dact += first * 150, b.assignment += first;
    b.dh += first * 300, b.weighted_act += first * 150;
    k.swiglu_grad(b);
  });
}

}  // namespace
}  // namespace um::test
