// A causal depthwise convolution over the rows of a sequence, added to its input, and its gradient
// (the short convolutions of openPangu-2.0's attention, docs/openpangu2.md), reference.
#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {
void causal_conv(const CausalConv& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    for (int64_t c = 0; c < a.cols; ++c) {
      double sum = a.x[row * a.ldx + c];
      if (c < a.channels && a.has_conv(row)) {
        for (int64_t j = 0; j < a.taps; ++j) {
          sum += static_cast<double>(a.weight[c * a.taps + j]) * a.tap(row, j)[c];
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
        if (user >= a.rows || !a.has_conv(user)) continue;
        if (j < a.taps - 1 && a.sources_of(user)[j] != row) continue;
        sum += static_cast<double>(a.weight[c * a.taps + j]) * g.dy[user * a.ldy + c];
      }
      put(g.dx + row * a.cols + c, sum, g.accumulate_dx);
    }
    for (int64_t j = 0; g.dweight && c < a.channels && j < a.taps; ++j) {
      double sum = 0;
      for (int64_t row = 0; row < a.rows; ++row) {
        if (a.has_conv(row)) sum += static_cast<double>(g.dy[row * a.ldy + c]) * a.tap(row, j)[c];
      }
      put(g.dweight + c * a.taps + j, sum, g.accumulate_dweight);
    }
  }
}

}  // namespace um::ref
