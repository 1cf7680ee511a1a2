// AdamW (Loshchilov & Hutter 2019): one streaming pass, bound by memory (16 bytes read and 12
// written per parameter).
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void adamw(const AdamW& a) {
  const Vec beta1 = splat(a.beta1), beta2 = splat(a.beta2);
  const Vec rest1 = splat(static_cast<float>(1.0 - a.beta1));
  const Vec rest2 = splat(static_cast<float>(1.0 - a.beta2));
  // sqrt(v / correction2) as sqrt(v) * root; the step's factors folded into one.
  const Vec root = splat(1.0f / __builtin_sqrtf(a.correction2)), eps = splat(a.eps);
  const Vec rate = splat(a.lr / a.correction1), scale = splat(a.grad_scale);
  const Vec decay = splat(a.lr * a.weight_decay);
  parallel_for(
      a.count, 7 * a.count,
      [&](int64_t begin, int64_t end) {
        for_vectors(end - begin, [&](int64_t at, int64_t n) {
          const int64_t i = begin + at;
          const Vec g = load_n(a.grad + i, n) * scale, p = load_n(a.param + i, n);
          const Vec m = fma(beta1, load_n(a.m + i, n), rest1 * g);
          const Vec v = fma(beta2, load_n(a.v + i, n), rest2 * g * g);
          const Vec step = rate * m / fma(sqrt(v), root, eps);
          store_n(a.m + i, m, n);
          store_n(a.v + i, v, n);
          store_n(a.param + i, fnma(decay, p, p) - step, n);
        });
      },
      1024);
}

}  // namespace um::UM_ISA
