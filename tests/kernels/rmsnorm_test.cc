// RMSNorm: forward and gradient, backends against the reference.
#include <gtest/gtest.h>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

struct Case {
  OpHarness h;
  RmsNorm forward;
  RmsNormGrad backward;

  Case(int64_t rows, int64_t cols, int64_t pad, bool accumulate) {
    const int64_t ld = cols + pad;
    forward = {.rows = rows,
               .cols = cols,
               .x = h.input(rows * ld),
               .ldx = ld,
               .gain = h.input(cols, 0.5f, 1),
               .eps = 1e-5f,
               .y = h.output(rows * ld),
               .ldy = ld,
               .inv_rms = h.output(rows)};
    backward = {.rows = rows,
                .cols = cols,
                .dy = h.input(rows * ld),
                .ldy = ld,
                .x = forward.x,
                .ldx = ld,
                .gain = forward.gain,
                .inv_rms = forward.inv_rms,
                .dx = h.output(rows * ld),
                .lddx = ld,
                .accumulate_dx = accumulate,
                .dgain = h.output(cols),
                .accumulate_dgain = accumulate};
  }
  void run(const Kernels& k) const {
    k.rmsnorm(forward);
    k.rmsnorm_grad(backward);
  }
};

TEST(RmsNormKernel, Parity) {
  for (int64_t cols : kOddSizes) {
    for (int64_t rows : {0, 1, 3, 130}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      Case c(rows, cols, rows % 2 * 5, cols % 2);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 1);
    }
  }
}

TEST(RmsNormKernel, NullOutputs) {
  Case c(70, 33, 0, false);
  c.forward.inv_rms = nullptr;
  c.h.expect_parity([&](const Kernels& k) { k.rmsnorm(c.forward); });
  Case d(70, 33, 0, false);
  d.backward.dgain = nullptr;
  d.h.expect_parity([&](const Kernels& k) { d.run(k); });
  Case e(70, 33, 0, false);
  e.backward.dx = nullptr;
  e.h.expect_parity([&](const Kernels& k) { e.run(k); });
}

TEST(RmsNormKernel, Gradient) {
  Case c(5, 33, 0, false);
  c.h.expect_gradient(
      [&](const Kernels& k) { k.rmsnorm(c.forward); },
      [&](const Kernels& k) { k.rmsnorm_grad(c.backward); },
      {{c.forward.x, c.backward.dx, 5 * 33}, {c.forward.gain, c.backward.dgain, 33}},
      {{c.forward.y, c.backward.dy, 5 * 33}});
}

TEST(RmsNormKernel, Bits) {
  Case c(200, 300, 4, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
  c.h.expect_rows_independent(200, [&](const Kernels& k, int64_t first, int64_t count) {
    RmsNorm f = c.forward;
    f.rows = count;
    f.x += first * f.ldx;
    f.y += first * f.ldy;
    f.inv_rms += first;
    k.rmsnorm(f);
    RmsNormGrad b = c.backward;
    b.rows = count;
    b.dy += first * b.ldy;
    b.x += first * b.ldx;
    b.inv_rms += first;
    b.dx += first * b.lddx;
    b.dgain = nullptr;
    k.rmsnorm_grad(b);
  });
}

}  // namespace
}  // namespace um::test
