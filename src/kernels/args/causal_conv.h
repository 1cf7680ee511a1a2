// Arguments of the causal convolution over the rows of a sequence.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// y = x + conv(x) on the first `channels` columns, y = x on the others. The convolution is
/// depthwise: conv[t][c] = Σ_j weight[c][j] x_(t-taps+1+j)[c] for j in 0..taps-1, of which the last
/// is the row itself. Where the others are is in `sources` [rows, taps-1], oldest first: a row of
/// x, or -1 - r for row r of `past`. A row whose first source is kNoSource has no convolution.
struct CausalConv {
  static constexpr int32_t kNoSource = INT32_MIN;

  int64_t rows = 0, cols = 0, channels = 0, taps = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const float* weight = nullptr;  ///< [channels, taps]
  const int32_t* sources = nullptr;
  const float* past = nullptr;
  int64_t ld_past = 0;
  float* y = nullptr;
  int64_t ldy = 0;

  const int32_t* sources_of(int64_t row) const { return sources + row * (taps - 1); }
  bool has_conv(int64_t row) const { return taps == 1 || sources_of(row)[0] != kNoSource; }
  /// The j-th input of a row that has a convolution.
  const float* tap(int64_t row, int64_t j) const {
    if (j == taps - 1) return x + row * ldx;
    const int64_t source = sources_of(row)[j];
    return source >= 0 ? x + source * ldx : past + (-1 - source) * ld_past;
  }
};
/// Only without a past: every source is one of the `taps` - 1 rows before.
struct CausalConvGrad {
  CausalConv forward;         ///< the inputs are read
  const float* dy = nullptr;  ///< row stride forward.ldy
  float* dx = nullptr;        ///< [rows, cols], contiguous
  bool accumulate_dx = false;
  float* dweight = nullptr;
  bool accumulate_dweight = false;
};

}  // namespace um
