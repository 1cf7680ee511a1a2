// A causal depthwise convolution over the rows of a sequence, added to its input, and its gradient
// (the short convolutions of openPangu-2.0's attention, interop.md 1.6), reference.
#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {
namespace {

const int32_t* sources_of(const CausalConv& a, int64_t row) {
  return a.sources + row * (a.taps - 1);
}
bool has_conv(const CausalConv& a, int64_t row) {
  return a.taps == 1 || sources_of(a, row)[0] != CausalConv::kNoSource;
}
const float* tap(const CausalConv& a, int64_t row, int64_t j) {
  if (j == a.taps - 1) return a.x + row * a.ldx;
  const int64_t source = sources_of(a, row)[j];
  return source >= 0 ? a.x + source * a.ldx : a.past + (-1 - source) * a.ld_past;
}

}  // namespace

void causal_conv(const CausalConv& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    for (int64_t c = 0; c < a.cols; ++c) {
      double sum = a.x[row * a.ldx + c];
      if (c < a.channels && has_conv(a, row)) {
        for (int64_t j = 0; j < a.taps; ++j) {
          sum += static_cast<double>(a.weight[c * a.taps + j]) * tap(a, row, j)[c];
        }
      }
      a.y[row * a.ldy + c] = static_cast<float>(sum);
    }
  }
}

void causal_conv_grad(const CausalConvGrad& g) {
  const CausalConv& a = g.forward;
  for (int64_t c = 0; c < a.cols; ++c) {
    for (int64_t row = 0; g.dx && row < a.rows; ++row) {
      double sum = g.dy[row * a.ldy + c];
      // The rows whose taps this one is: itself and those after it.
      for (int64_t j = 0; j < a.taps && c < a.channels; ++j) {
        const int64_t user = row + a.taps - 1 - j;
        if (user >= a.rows || !has_conv(a, user)) continue;
        if (j < a.taps - 1 && sources_of(a, user)[j] != row) continue;
        sum += static_cast<double>(a.weight[c * a.taps + j]) * g.dy[user * a.ldy + c];
      }
      put(g.dx + row * a.cols + c, sum, g.accumulate_dx);
    }
    for (int64_t j = 0; g.dweight && c < a.channels && j < a.taps; ++j) {
      double sum = 0;
      for (int64_t row = 0; row < a.rows; ++row) {
        if (has_conv(a, row)) sum += static_cast<double>(g.dy[row * a.ldy + c]) * tap(a, row, j)[c];
      }
      put(g.dweight + c * a.taps + j, sum, g.accumulate_dweight);
    }
  }
}

}  // namespace um::ref
