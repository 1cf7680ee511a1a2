// SwiGLU (Shazeer 2020) and its gradient with the routing weight folded in, reference.
#include <cmath>

#include "kernels/kernels.h"

namespace um::ref {

void swiglu(const Swiglu& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const float *gate = a.h + row * 2 * a.width, *up = gate + a.width;
    for (int64_t i = 0; i < a.width; ++i) {
      const double silu = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i])));
      a.act[row * a.width + i] = static_cast<float>(silu * up[i]);
    }
  }
}

void swiglu_grad(const SwigluGrad& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const float *gate = a.h + row * 2 * a.width, *up = gate + a.width;
    const float* dact = a.dact + row * a.width;
    const int64_t index = a.assignment ? a.assignment[row] : row;
    const double w = a.weight ? a.weight[index] : 1.0;
    double dweight = 0;
    for (int64_t i = 0; i < a.width; ++i) {
      const double sigmoid = 1.0 / (1.0 + std::exp(-static_cast<double>(gate[i])));
      const double silu = gate[i] * sigmoid;
      // Read before writing: dh may be h, weighted_act may be dact.
      const double g = gate[i], u = up[i], d = dact[i];
      dweight += d * silu * u;
      if (a.dh) {
        float* dh = a.dh + row * 2 * a.width + i;
        dh[0] = static_cast<float>(w * d * u * sigmoid * (1.0 + g * (1.0 - sigmoid)));
        dh[a.width] = static_cast<float>(w * d * silu);
      }
      if (a.weighted_act) a.weighted_act[row * a.width + i] = static_cast<float>(w * silu * u);
    }
    if (a.dweight) a.dweight[index] = static_cast<float>(dweight);
  }
}

}  // namespace um::ref
