// AdamW (Loshchilov & Hutter 2019), reference.
#include <cmath>

#include "kernels/kernels.h"

namespace um::ref {

void adamw(const AdamW& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    const double g = static_cast<double>(a.grad_scale) * a.grad[i];
    const double m = a.beta1 * static_cast<double>(a.m[i]) + (1.0 - a.beta1) * g;
    const double v = a.beta2 * static_cast<double>(a.v[i]) + (1.0 - a.beta2) * g * g;
    const double step = m / a.correction1 / (std::sqrt(v / a.correction2) + a.eps);
    const double p = a.param[i];
    a.m[i] = static_cast<float>(m);
    a.v[i] = static_cast<float>(v);
    a.param[i] = static_cast<float>(p - a.lr * (step + a.weight_decay * p));
  }
}

}  // namespace um::ref
