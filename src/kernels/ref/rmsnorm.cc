// RMSNorm and its gradient (Zhang & Sennrich 2019), reference.
#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {

void rmsnorm(const RmsNorm& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const float* x = a.x + row * a.ldx;
    const float inv = inverse_rms(x, a.cols, a.eps);
    for (int64_t i = 0; i < a.cols; ++i) {
      a.y[row * a.ldy + i] = static_cast<float>(static_cast<double>(a.gain[i]) * x[i] * inv);
    }
    if (a.inv_rms) a.inv_rms[row] = inv;
  }
}

void rmsnorm_grad(const RmsNormGrad& a) {
  for (int64_t i = 0; a.dgain && i < a.cols; ++i) {
    double sum = 0;
    for (int64_t row = 0; row < a.rows; ++row) {
      sum += static_cast<double>(a.dy[row * a.ldy + i]) * a.x[row * a.ldx + i] * a.inv_rms[row];
    }
    put(a.dgain + i, sum, a.accumulate_dgain);
  }
  for (int64_t row = 0; a.dx && row < a.rows; ++row) {
    const float *x = a.x + row * a.ldx, *dy = a.dy + row * a.ldy;
    const double dot = norm_dot(dy, a.gain, x, a.cols);
    for (int64_t i = 0; i < a.cols; ++i) {
      const double dx = norm_grad(dy[i], a.gain[i], x[i], a.inv_rms[row], dot);
      put(a.dx + row * a.lddx + i, dx, a.accumulate_dx);
    }
  }
}

}  // namespace um::ref
