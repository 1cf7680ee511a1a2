// Arguments of the gated activation SwiGLU.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// act[row, f] = silu(h[row, f]) * h[row, F+f]; h is [rows, 2F] = [gate | up].
struct Swiglu {
  int64_t rows = 0, width = 0;
  const float* h = nullptr;
  float* act = nullptr;
};
/// From dact (gradient of the activation, before the row's weight): dh = w * dact * d(swiglu),
/// weighted_act = w * act (recomputed, for the gradient of the down weight), dweight = <dact, act>.
/// row_weight may be null (w = 1); weighted_act and dweight may be null.
struct SwigluGrad {
  int64_t rows = 0, width = 0;
  const float *h = nullptr, *dact = nullptr;
  const float* weight = nullptr;        ///< [A] routing weights, or null
  const int32_t* assignment = nullptr;  ///< [rows] slot → index into weight and dweight
  float* dh = nullptr;                  ///< [rows, 2F]
  float* weighted_act = nullptr;        ///< [rows, F]
  float* dweight = nullptr;             ///< [A]
};

}  // namespace um
