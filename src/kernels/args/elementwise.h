// Arguments of element-wise kernels: sums, copies, the optimizer.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// y[i] = a[i] + b[i] (y may be a or b).
struct Add {
  int64_t count = 0;
  const float *a = nullptr, *b = nullptr;
  float* y = nullptr;
};

/// y[row][block][0..width) = x[row][block][0..width): rows `ld` apart, blocks `block_*` apart
/// within a row. rows_x and rows_y say which rows those are: a gather, a scatter.
struct CopyBlocks {
  int64_t rows = 0, blocks = 1, width = 0;
  const void* x = nullptr;
  int64_t ldx = 0, block_x = 0;
  void* y = nullptr;
  int64_t ldy = 0, block_y = 0;
  const int32_t *rows_x = nullptr, *rows_y = nullptr;  ///< [rows]; null: row r is row r
  int64_t element_bytes = 4;                           ///< of x and y
};

/// Decoupled weight decay Adam (Loshchilov & Hutter 2019), one fused pass:
/// g' = grad_scale*g; m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'²;
/// p -= lr * ( (m / correction1) / (sqrt(v / correction2) + eps) + weight_decay * p ).
struct AdamW {
  int64_t count = 0;
  float *param = nullptr, *m = nullptr, *v = nullptr;
  const float* grad = nullptr;
  float lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  float correction1 = 1, correction2 = 1;  ///< 1 - beta^step
  float grad_scale = 1;
};

/// *result = Σ x² in f64, summed in fixed blocks: the same bits for every thread count.
struct SumSquares {
  int64_t count = 0;
  const float* x = nullptr;
  double* result = nullptr;
};

}  // namespace um
