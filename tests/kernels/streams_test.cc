// Hyper-connections: the weights of the mixtures and the mixtures, forward and gradient, backends
// against the reference.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness_util.h"

namespace um::test {
namespace {

struct GatesCase {
  OpHarness h;
  StreamGates forward;
  StreamGatesGrad backward;

  GatesCase(int64_t rows, int64_t streams, int64_t steps, bool accumulate) {
    const bool both = steps > 0;
    const int64_t width = both ? streams * (streams + 2) : streams;
    const int64_t outputs = streams * (streams + 1);
    forward = {.rows = rows,
               .streams = streams,
               .steps = steps,
               .u = h.input(rows * width),
               .alpha = h.input(both ? 3 : 1, 0.3f, 1),
               .beta = h.input(width, 0.5f),
               .eps = 1e-3f,  // large enough to matter
               .pre = h.output(rows * streams),
               .post = both ? h.output(rows * outputs) : nullptr};
    backward = {.forward = forward,
                .dpre = h.input(rows * streams),
                .dpost = both ? h.input(rows * outputs) : nullptr,
                .du = h.output(rows * width),
                .accumulate_du = accumulate,
                .dalpha = h.output(both ? 3 : 1),
                .dbeta = h.output(width),
                .accumulate_dalpha = accumulate,
                .accumulate_dbeta = accumulate};
  }
  void run(const Kernels& k) const {
    k.stream_gates(forward);
    k.stream_gates_grad(backward);
  }
};

TEST(StreamGatesKernel, Parity) {
  for (const int64_t streams : {1, 2, 4, 8})
    for (const int64_t steps : {0, 1, 3, 20}) {
      GatesCase c(300, streams, steps, streams % 4 == 0);
      c.h.expect_parity([&](const Kernels& k) { c.run(k); }, 2e-6, 1);
    }
}

TEST(StreamGatesKernel, SumsAreOne) {
  GatesCase c(20, 4, 20, false);
  c.forward.eps = 0;
  ref::kTable.stream_gates(c.forward);
  for (int64_t row = 0; row < 20; ++row) {
    const float* post = c.forward.post + row * 20;  // [c][r], and what comes last
    for (int64_t i = 0; i < 4; ++i) {
      double by_column = 0, by_row = 0;
      for (int64_t j = 0; j < 4; ++j) by_column += post[i * 5 + j], by_row += post[j * 5 + i];
      EXPECT_NEAR(by_column, 1, 1e-6);  // of M's column, the last to be divided
      EXPECT_NEAR(by_row, 1, 1e-2);
    }
  }
}

TEST(StreamGatesKernel, Gradient) {
  for (const int64_t steps : {0, 1, 2, 20}) {
    SCOPED_TRACE(steps);
    GatesCase c(3, 4, steps, false);
    const int64_t width = c.forward.width();
    std::vector<OpHarness::Pair> outputs{{c.forward.pre, c.backward.dpre, 3 * 4}};
    if (steps > 0) outputs.push_back({c.forward.post, c.backward.dpost, 3 * 20});
    c.h.expect_gradient([&](const Kernels& k) { k.stream_gates(c.forward); },
                        [&](const Kernels& k) { k.stream_gates_grad(c.backward); },
                        {{c.forward.u, c.backward.du, 3 * width},
                         {c.forward.alpha, c.backward.dalpha, steps > 0 ? 3 : 1},
                         {c.forward.beta, c.backward.dbeta, width}},
                        outputs);
  }
}

TEST(StreamGatesKernel, NullGradientIsZero) {
  GatesCase c(5, 4, 3, false);
  c.backward.dpost = nullptr;
  c.h.expect_parity([&](const Kernels& k) { c.run(k); });
  for (int64_t i = 4; i < 24; ++i) EXPECT_EQ(c.backward.dbeta[i], 0) << i;
}

struct MixCase {
  OpHarness h;
  StreamMix forward;
  StreamMixGrad backward;

  MixCase(int64_t rows, int64_t outputs, int64_t streams, int64_t width, bool y, bool accumulate) {
    const int64_t inputs = streams + (y ? 1 : 0);
    forward = {.rows = rows,
               .outputs = outputs,
               .streams = streams,
               .width = width,
               .weights = h.input(rows * outputs * inputs),
               .x = h.input(rows * streams * width),
               .y = y ? h.input(rows * width) : nullptr,
               .out = h.output(rows * outputs * width)};
    backward = {.forward = forward,
                .dout = h.input(rows * outputs * width),
                .dweights = h.output(rows * outputs * inputs),
                .dx = h.output(rows * streams * width),
                .dy = y ? h.output(rows * width) : nullptr,
                .accumulate_dweights = accumulate,
                .accumulate_dx = accumulate,
                .accumulate_dy = accumulate};
  }
  void run(const Kernels& k) const {
    k.stream_mix(forward);
    k.stream_mix_grad(backward);
  }
};

TEST(StreamMixKernel, Parity) {
  for (const int64_t width : kOddSizes)
    for (const bool y : {false, true}) {
      SCOPED_TRACE(testing::Message() << width << (y ? " with y" : ""));
      MixCase in(width == 100 ? 400 : 5, 1, 4, width, y, y);
      in.h.expect_parity([&](const Kernels& k) { in.run(k); }, 2e-6, 3);
      MixCase out(3, 4, 4, width, y, !y);
      out.h.expect_parity([&](const Kernels& k) { out.run(k); }, 2e-6, 3);
    }
}

TEST(StreamMixKernel, Gradient) {
  MixCase c(3, 3, 2, 17, true, false);
  c.h.expect_gradient([&](const Kernels& k) { k.stream_mix(c.forward); },
                      [&](const Kernels& k) { k.stream_mix_grad(c.backward); },
                      {{c.forward.weights, c.backward.dweights, 3 * 3 * 3},
                       {c.forward.x, c.backward.dx, 3 * 2 * 17},
                       {c.forward.y, c.backward.dy, 3 * 17}},
                      {{c.forward.out, c.backward.dout, 3 * 3 * 17}});
}

TEST(StreamMixKernel, Bits) {
  MixCase c(200, 4, 4, 130, true, true);
  c.h.expect_same_bits_for_threads([&](const Kernels& k) { c.run(k); });
  c.h.expect_rows_independent(200, [&](const Kernels& k, int64_t first, int64_t count) {
    StreamMix part = c.forward;
    part.rows = count;
    part.weights += first * 4 * 5;
    part.x += first * 4 * 130;
    part.y += first * 130;
    part.out += first * 4 * 130;
    k.stream_mix(part);
  });
}

}  // namespace
}  // namespace um::test
