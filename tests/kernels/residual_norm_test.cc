// The sandwich step: forward and gradient, with and without each of its parts.
#include <gtest/gtest.h>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

struct Case {
  OpHarness h;
  ResidualNorm forward;
  ResidualNormGrad backward;

  Case(int64_t rows, int64_t cols, bool post, bool accumulate) {
    const int64_t all = rows * cols;
    forward = {.rows = rows,
               .cols = cols,
               .x = h.input(all, 1, cols < 8 ? 6 : 0),  // keeps y of few columns away from 0

               .v = h.input(all),
               .gain_post = post ? h.input(cols, 0.5f, 1) : nullptr,
               .gain_pre = h.input(cols, 0.5f, 1),
               .eps = 1e-5f,
               .y = h.output(all),
               .z = h.output(all),
               .inv_v = h.output(rows),
               .inv_y = h.output(rows)};
    backward = {.rows = rows,
                .cols = cols,
                .dy = h.input(all),
                .dz = h.input(all),
                .v = forward.v,
                .y = forward.y,
                .gain_post = forward.gain_post,
                .gain_pre = forward.gain_pre,
                .inv_v = forward.inv_v,
                .inv_y = forward.inv_y,
                .dx = h.output(all),
                .accumulate_dx = accumulate,
                .dv = h.output(all),
                .accumulate_dv = !accumulate,
                .dgain_post = post ? h.output(cols) : nullptr,
                .dgain_pre = h.output(cols),
                .accumulate_dgain_post = accumulate,
                .accumulate_dgain_pre = !accumulate};
  }
  void run(const Kernels& k) const {
    k.residual_norm(forward);
    k.residual_norm_grad(backward);
  }
};

TEST(ResidualNormKernel, Parity) {
  for (int64_t cols : kOddSizes) {
    for (int64_t rows : {0, 1, 3, 130}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      Case c(rows, cols, cols % 3, rows % 2);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 2);
    }
  }
}

TEST(ResidualNormKernel, MissingGradients) {
  for (int missing = 0; missing < 7; ++missing) {
    SCOPED_TRACE(missing);
    Case c(70, 33, true, false);
    if (missing == 0) c.backward.dy = nullptr;
    if (missing == 1) c.backward.dz = nullptr, c.backward.dgain_pre = nullptr;
    if (missing == 2) c.backward.dx = nullptr;
    if (missing == 3) c.backward.dv = nullptr;
    if (missing == 4) c.backward.dgain_post = nullptr;
    if (missing == 5) c.backward.dgain_pre = nullptr;
    if (missing == 6) c.backward.dy = c.backward.dz = c.backward.dgain_pre = nullptr;
    c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 2);
  }
}

TEST(ResidualNormKernel, DxMayBeDy) {
  Case c(70, 33, true, false);
  float* both = c.h.output(70 * 33);
  c.backward.dy = c.backward.dx = both;
  c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 2);
}

TEST(ResidualNormKernel, Gradient) {
  for (bool post : {true, false}) {
    Case c(4, 33, post, false);
    c.backward.accumulate_dv = c.backward.accumulate_dgain_pre = false;
    std::vector<OpHarness::Pair> inputs{{c.forward.x, c.backward.dx, 4 * 33},
                                        {c.forward.v, c.backward.dv, 4 * 33},
                                        {c.forward.gain_pre, c.backward.dgain_pre, 33}};
    if (post) inputs.push_back({c.forward.gain_post, c.backward.dgain_post, 33});
    c.h.expect_gradient(
        [&](const Kernels& k) { k.residual_norm(c.forward); },
        [&](const Kernels& k) { k.residual_norm_grad(c.backward); }, inputs,
        {{c.forward.y, c.backward.dy, 4 * 33}, {c.forward.z, c.backward.dz, 4 * 33}});
  }
}

TEST(ResidualNormKernel, Bits) {
  Case c(200, 300, true, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
  c.h.expect_rows_independent(200, [&](const Kernels& k, int64_t first, int64_t count) {
    const int64_t at = first * 300;
    ResidualNorm f = c.forward;
    f.rows = count;
    f.x += at, f.v += at, f.y += at, f.z += at;
    f.inv_v += first, f.inv_y += first;
    k.residual_norm(f);
    ResidualNormGrad b = c.backward;
    b.rows = count;
    b.dy += at, b.dz += at, b.v += at, b.y += at, b.dx += at, b.dv += at;
    b.inv_v += first, b.inv_y += first;
    b.dgain_post = b.dgain_pre = nullptr;
    k.residual_norm_grad(b);
  });
}

}  // namespace
}  // namespace um::test
