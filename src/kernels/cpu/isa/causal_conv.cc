// A causal depthwise convolution over the rows of a sequence, added to its input, and its gradient:
// a row at a time, with the weights turned to [taps, channels] first.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

/// weight [channels, taps] as [taps, channels].
const float* turned_weights(const CausalConv& a, Scratch& scratch) {
  float* turned = scratch.floats(a.taps * a.channels);
  for (int64_t c = 0; c < a.channels; ++c) {
    for (int64_t j = 0; j < a.taps; ++j) turned[j * a.channels + c] = a.weight[c * a.taps + j];
  }
  return turned;
}

void conv_row(const CausalConv& a, const float* weight, int64_t row) {
  const float* x = a.x + row * a.ldx;
  float* y = a.y + row * a.ldy;
  std::memcpy(y, x, static_cast<size_t>(a.cols) * sizeof(float));
  if (!a.has_conv(row)) return;
  for (int64_t j = 0; j < a.taps; ++j) {
    const float *from = a.tap(row, j), *w = weight + j * a.channels;
    for_vectors(a.channels, [&](int64_t c, int64_t n) {
      store_n(y + c, fma(load_n(w + c, n), load_n(from + c, n), load_n(y + c, n)), n);
    });
  }
}

void input_grad_row(const CausalConvGrad& g, const float* weight, int64_t row) {
  const CausalConv& a = g.forward;
  float* dx = g.dx + row * a.cols;
  const float* dy = g.dy + row * a.ldy;
  for_vectors(a.cols,
              [&](int64_t c, int64_t n) { put_n(dx + c, load_n(dy + c, n), n, g.accumulate_dx); });
  // The rows whose taps this one is: itself and those after it.
  for (int64_t j = 0; j < a.taps; ++j) {
    const int64_t user = row + a.taps - 1 - j;
    if (user >= a.rows || !a.has_conv(user)) continue;
    if (j < a.taps - 1 && a.sources_of(user)[j] != row) continue;
    const float *from = g.dy + user * a.ldy, *w = weight + j * a.channels;
    for_vectors(a.channels, [&](int64_t c, int64_t n) {
      store_n(dx + c, fma(load_n(w + c, n), load_n(from + c, n), load_n(dx + c, n)), n);
    });
  }
}

}  // namespace

void causal_conv(const CausalConv& a) {
  static thread_local Scratch scratch;
  const float* weight = turned_weights(a, scratch);
  parallel_for(a.rows, a.rows * a.cols * (a.taps + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) conv_row(a, weight, row);
  });
}

void causal_conv_grad(const CausalConvGrad& g) {
  static thread_local Scratch turned, partial;
  const CausalConv& a = g.forward;
  const int64_t work = 2 * a.rows * a.cols * (a.taps + 1);
  if (g.dx) {
    const float* weight = turned_weights(a, turned);
    parallel_for(a.rows, work, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) input_grad_row(g, weight, row);
    });
  }
  if (!g.dweight) return;
  float* sums = turned.floats(a.taps * a.channels);  // [taps, channels]
  column_sums(a.rows, a.taps * a.channels, work, sums, false, partial,
              [&](int64_t begin, int64_t end, float* block) {
                for (int64_t row = begin; row < end; ++row) {
                  if (!a.has_conv(row)) continue;
                  const float* dy = g.dy + row * a.ldy;
                  for (int64_t j = 0; j < a.taps; ++j) {
                    const float* from = a.tap(row, j);
                    float* to = block + j * a.channels;
                    for_vectors(a.channels, [&](int64_t c, int64_t n) {
                      store_n(to + c,
                              fma(load_n(dy + c, n), load_n(from + c, n), load_n(to + c, n)), n);
                    });
                  }
                }
              });
  for (int64_t c = 0; c < a.channels; ++c) {
    for (int64_t j = 0; j < a.taps; ++j) {
      float& to = g.dweight[c * a.taps + j];
      to = sums[j * a.channels + c] + (g.accumulate_dweight ? to : 0.0f);
    }
  }
}

}  // namespace um::UM_ISA
