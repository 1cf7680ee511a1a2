// Arguments of RMSNorm, alone and as a sandwich step.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// y = gain * x / sqrt(mean(x²) + eps) per row; inv_rms[row] is kept for the gradient (may be
/// null).
struct RmsNorm {
  int64_t rows = 0, cols = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const float* gain = nullptr;
  float eps = 0;
  float* y = nullptr;
  int64_t ldy = 0;
  float* inv_rms = nullptr;
};
struct RmsNormGrad {
  int64_t rows = 0, cols = 0;
  const float* dy = nullptr;
  int64_t ldy = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const float *gain = nullptr, *inv_rms = nullptr;
  float* dx = nullptr;
  int64_t lddx = 0;
  bool accumulate_dx = false;
  float* dgain = nullptr;  ///< [cols]
  bool accumulate_dgain = false;
};

/// One sandwich step (DSSN): y = x + post(v), z = pre(y), where post and pre are RMSNorms with
/// their own gains. A null gain_post means y = x + v (pre-norm models). All [rows,cols],
/// contiguous.
struct ResidualNorm {
  int64_t rows = 0, cols = 0;
  const float *x = nullptr, *v = nullptr, *gain_post = nullptr, *gain_pre = nullptr;
  float eps = 0;
  float *y = nullptr, *z = nullptr;
  float *inv_v = nullptr, *inv_y = nullptr;  ///< [rows]; may be null
};
/// Total gradient of y: g = dy + d(pre)(dz). Then dx = g, dv = d(post)(g) (or g). dy may be null
/// (zero), dz may be null (zero); dx may be the same memory as dy.
struct ResidualNormGrad {
  int64_t rows = 0, cols = 0;
  const float *dy = nullptr, *dz = nullptr;
  const float *v = nullptr, *y = nullptr, *gain_post = nullptr, *gain_pre = nullptr;
  const float *inv_v = nullptr, *inv_y = nullptr;
  float* dx = nullptr;
  bool accumulate_dx = false;
  float* dv = nullptr;
  bool accumulate_dv = false;
  float *dgain_post = nullptr, *dgain_pre = nullptr;
  bool accumulate_dgain_post = false, accumulate_dgain_pre = false;
};

}  // namespace um
