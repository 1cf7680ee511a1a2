// Hyper-connections: mixing residual streams, a row at a time (its streams stay in the cache
// between the passes over them). The weights themselves are a few numbers per row, which the
// reference computes.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void stream_gates(const StreamGates& a) {
  const int64_t outputs = a.streams * (a.streams + 1);
  const int64_t work = a.rows * a.width() * (1 + 4 * a.steps);
  parallel_for(a.rows, work, [&](int64_t begin, int64_t end) {
    StreamGates part = a;
    part.rows = end - begin;
    part.u += begin * a.width();
    part.pre += begin * a.streams;
    if (a.post) part.post += begin * outputs;
    ref::stream_gates(part);
  });
}

void stream_gates_grad(const StreamGatesGrad& a) {
  ref::stream_gates_grad(a);
}

namespace {

/// One row: out_o = Σ_i w[o][i] in_i.
void mix_row(const StreamMix& a, const float* w, const float* x, const float* y, float* out) {
  for (int64_t o = 0; o < a.outputs; ++o) {
    const float* weights = w + o * a.inputs();
    for_vectors(a.width, [&](int64_t c, int64_t n) {
      Vec sum = splat(0);
      for (int64_t i = 0; i < a.streams; ++i) {
        sum = fma(splat(weights[i]), load_n(x + i * a.width + c, n), sum);
      }
      if (y) sum = fma(splat(weights[a.streams]), load_n(y + c, n), sum);
      store_n(out + o * a.width + c, sum, n);
    });
  }
}

/// din (+)= Σ_o w[o] dout_o, where w[o] is `stride` from w[o-1].
void mix_input_grad(const StreamMix& a, const float* w, const float* dout, float* din,
                    bool accumulate) {
  for_vectors(a.width, [&](int64_t c, int64_t n) {
    Vec sum = splat(0);
    for (int64_t o = 0; o < a.outputs; ++o) {
      sum = fma(splat(w[o * a.inputs()]), load_n(dout + o * a.width + c, n), sum);
    }
    put_n(din + c, sum, n, accumulate);
  });
}

void mix_weight_grad(const StreamMixGrad& g, const float* in, const float* dout, float* dw) {
  const StreamMix& a = g.forward;
  for (int64_t o = 0; o < a.outputs; ++o) {
    const float* d = dout + o * a.width;
    const float total = sum_of(a.width, [&](int64_t c, int64_t n, Vec s) {
      return fma(load_n(d + c, n), load_n(in + c, n), s);
    });
    float* to = dw + o * a.inputs();
    *to = g.accumulate_dweights ? *to + total : total;
  }
}

}  // namespace

void stream_mix(const StreamMix& a) {
  const int64_t weights = a.outputs * a.inputs();
  parallel_for(a.rows, a.rows * a.width * (a.outputs + a.inputs()),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   mix_row(a, a.weights + row * weights, a.x + row * a.streams * a.width,
                           a.y ? a.y + row * a.width : nullptr, a.out + row * a.outputs * a.width);
                 }
               });
}

void stream_mix_grad(const StreamMixGrad& g) {
  const StreamMix& a = g.forward;
  const int64_t weights = a.outputs * a.inputs();
  const int64_t work = 2 * a.rows * a.width * (a.outputs + a.inputs());
  parallel_for(a.rows, work, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* w = a.weights + row * weights;
      const float* dout = g.dout + row * a.outputs * a.width;
      for (int64_t i = 0; i < a.inputs(); ++i) {
        const bool stream = i < a.streams;
        const int64_t at = stream ? (row * a.streams + i) * a.width : row * a.width;
        const float* in = stream ? a.x + at : a.y + at;
        float* din = stream ? g.dx : g.dy;
        if (g.dweights) mix_weight_grad(g, in, dout, g.dweights + row * weights + i);
        if (din) {
          mix_input_grad(a, w + i, dout, din + at, stream ? g.accumulate_dx : g.accumulate_dy);
        }
      }
    }
  });
}

}  // namespace um::UM_ISA
