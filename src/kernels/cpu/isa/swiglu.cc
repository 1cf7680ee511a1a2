// SwiGLU (Shazeer 2020) and its gradient with the routing weight folded in, one pass.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void swiglu(const Swiglu& a) {
  parallel_for(a.rows, 3 * a.rows * a.width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *gate = a.h + row * 2 * a.width, *up = gate + a.width;
      float* act = a.act + row * a.width;
      for_vectors(a.width, [&](int64_t i, int64_t n) {
        const Vec g = load_n(gate + i, n);
        store_n(act + i, g * sigmoid(g) * load_n(up + i, n), n);
      });
    }
  });
}

namespace {

void swiglu_grad_row(const SwigluGrad& a, int64_t row) {
  const float *gate = a.h + row * 2 * a.width, *up = gate + a.width;
  const float* dact = a.dact + row * a.width;
  float* dh = a.dh ? a.dh + row * 2 * a.width : nullptr;
  float* weighted_act = a.weighted_act ? a.weighted_act + row * a.width : nullptr;
  const int64_t index = a.assignment ? a.assignment[row] : row;
  const Vec w = splat(a.weight ? a.weight[index] : 1.0f), one = splat(1.0f);
  const float dweight = sum_of(a.width, [&](int64_t i, int64_t n, Vec s) {
    const Vec g = load_n(gate + i, n), u = load_n(up + i, n), d = load_n(dact + i, n);
    const Vec sig = sigmoid(g), silu = g * sig, act = silu * u;
    if (dh) {
      const Vec wd = w * d;
      store_n(dh + i, wd * u * (sig * fma(g, one - sig, one)), n);
      store_n(dh + a.width + i, wd * silu, n);
    }
    if (weighted_act) store_n(weighted_act + i, w * act, n);
    return fma(d, act, s);
  });
  if (a.dweight) a.dweight[index] = dweight;
}

}  // namespace

void swiglu_grad(const SwigluGrad& a) {
  parallel_for(a.rows, 6 * a.rows * a.width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) swiglu_grad_row(a, row);
  });
}

}  // namespace um::UM_ISA
