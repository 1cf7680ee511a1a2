// Hyper-connections: the weights that mix residual streams (sigmoids, and a matrix made doubly
// stochastic by Sinkhorn's iteration; openPangu-2.0, docs/openpangu2.md), the mixture itself, and
// their gradients, reference.
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {
namespace {

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}

/// A matrix [S, S] on its way: the softmax, then what each division left, and what it divided by.
struct Sinkhorn {
  int64_t streams, divisions;
  double eps;
  double softmax[kMaxStreams * kMaxStreams];
  double values[2 * kMaxSinkhornSteps][kMaxStreams * kMaxStreams];  // after each division
  double sums[2 * kMaxSinkhornSteps][kMaxStreams];                  // with eps

  explicit Sinkhorn(const StreamGates& a)
      : streams(a.streams), divisions(2 * a.steps - 1), eps(a.eps) {}

  /// Division 0, 2, … is by column sums, 1, 3, … by row sums.
  static bool by_columns(int64_t division) { return division % 2 == 0; }
  int64_t line(int64_t division, int64_t r, int64_t c) const {
    return by_columns(division) ? c : r;
  }

  void run(const double* logits) {
    const int64_t n = streams;
    double now[kMaxStreams * kMaxStreams];
    for (int64_t r = 0; r < n; ++r) {
      double largest = -INFINITY, total = 0;
      for (int64_t c = 0; c < n; ++c) largest = std::fmax(largest, logits[r * n + c]);
      for (int64_t c = 0; c < n; ++c) total += std::exp(logits[r * n + c] - largest);
      for (int64_t c = 0; c < n; ++c) {
        softmax[r * n + c] = std::exp(logits[r * n + c] - largest) / total;
        now[r * n + c] = softmax[r * n + c] + eps;
      }
    }
    for (int64_t d = 0; d < divisions; ++d) {
      for (int64_t i = 0; i < n; ++i) sums[d][i] = eps;
      for (int64_t i = 0; i < n * n; ++i) sums[d][line(d, i / n, i % n)] += now[i];
      for (int64_t i = 0; i < n * n; ++i) {
        now[i] /= sums[d][line(d, i / n, i % n)];
        values[d][i] = now[i];
      }
    }
  }
  const double* result() const { return values[divisions - 1]; }

  /// The gradient of the result in `grad` becomes that of the logits.
  void backward(double* grad) const {
    const int64_t n = streams;
    for (int64_t d = divisions; d-- > 0;) {
      double dots[kMaxStreams] = {};  // of each line's gradient and values
      for (int64_t i = 0; i < n * n; ++i) dots[line(d, i / n, i % n)] += grad[i] * values[d][i];
      for (int64_t i = 0; i < n * n; ++i) {
        const int64_t l = line(d, i / n, i % n);
        grad[i] = (grad[i] - dots[l]) / sums[d][l];
      }
    }
    for (int64_t r = 0; r < n; ++r) {
      double dot = 0;
      for (int64_t c = 0; c < n; ++c) dot += grad[r * n + c] * softmax[r * n + c];
      for (int64_t c = 0; c < n; ++c) {
        grad[r * n + c] = softmax[r * n + c] * (grad[r * n + c] - dot);
      }
    }
  }
};

/// alpha u + beta of one row; which alpha belongs to column i.
int64_t part_of(int64_t i, int64_t streams) {
  return i < streams ? 0 : i < 2 * streams ? 1 : 2;
}
void affine_row(const StreamGates& a, int64_t row, double* out) {
  const float* u = a.u + row * a.width();
  for (int64_t i = 0; i < a.width(); ++i) {
    out[i] = static_cast<double>(a.alpha[part_of(i, a.streams)]) * u[i] + a.beta[i];
  }
}

constexpr int64_t kMaxGates = kMaxStreams * (kMaxStreams + 2);

}  // namespace

void stream_gates(const StreamGates& a) {
  const int64_t n = a.streams;
  double v[kMaxGates];
  for (int64_t row = 0; row < a.rows; ++row) {
    affine_row(a, row, v);
    for (int64_t s = 0; s < n; ++s) {
      a.pre[row * n + s] = static_cast<float>(logistic(v[s]) + a.eps);
    }
    if (!a.post) continue;
    float* post = a.post + row * n * (n + 1);
    Sinkhorn sinkhorn(a);
    sinkhorn.run(v + 2 * n);
    for (int64_t c = 0; c < n; ++c) {
      for (int64_t r = 0; r < n; ++r) {
        post[c * (n + 1) + r] = static_cast<float>(sinkhorn.result()[r * n + c]);
      }
      post[c * (n + 1) + n] = static_cast<float>(2 * logistic(v[n + c]));
    }
  }
}

void stream_gates_grad(const StreamGatesGrad& g) {
  const StreamGates& a = g.forward;
  const int64_t n = a.streams, width = a.width();
  double dalpha[3] = {}, dbeta[kMaxGates] = {}, v[kMaxGates], dv[kMaxGates];
  for (int64_t row = 0; row < a.rows; ++row) {
    affine_row(a, row, v);
    for (int64_t s = 0; s < n; ++s) {
      const double y = logistic(v[s]);
      dv[s] = g.dpre ? g.dpre[row * n + s] * y * (1 - y) : 0;
    }
    if (a.post) {
      const float* dpost = g.dpost ? g.dpost + row * n * (n + 1) : nullptr;
      Sinkhorn sinkhorn(a);
      sinkhorn.run(v + 2 * n);
      for (int64_t c = 0; c < n; ++c) {
        const double y = logistic(v[n + c]);
        dv[n + c] = dpost ? 2 * dpost[c * (n + 1) + n] * y * (1 - y) : 0;
        for (int64_t r = 0; r < n; ++r) {
          dv[2 * n + r * n + c] = dpost ? dpost[c * (n + 1) + r] : 0;
        }
      }
      sinkhorn.backward(dv + 2 * n);
    }
    for (int64_t i = 0; i < width; ++i) {
      const int64_t part = part_of(i, n);
      dalpha[part] += dv[i] * a.u[row * width + i];
      dbeta[i] += dv[i];
      if (g.du) put(g.du + row * width + i, dv[i] * a.alpha[part], g.accumulate_du);
    }
  }
  for (int64_t i = 0; g.dalpha && i < (a.post ? 3 : 1); ++i) {
    put(g.dalpha + i, dalpha[i], g.accumulate_dalpha);
  }
  for (int64_t i = 0; g.dbeta && i < width; ++i) put(g.dbeta + i, dbeta[i], g.accumulate_dbeta);
}

namespace {

const float* input_of(const StreamMix& a, int64_t row, int64_t i) {
  return i < a.streams ? a.x + (row * a.streams + i) * a.width : a.y + row * a.width;
}

}  // namespace

void stream_mix(const StreamMix& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    for (int64_t o = 0; o < a.outputs; ++o) {
      const float* w = a.weights + (row * a.outputs + o) * a.inputs();
      for (int64_t c = 0; c < a.width; ++c) {
        double sum = 0;
        for (int64_t i = 0; i < a.inputs(); ++i) {
          sum += static_cast<double>(w[i]) * input_of(a, row, i)[c];
        }
        a.out[(row * a.outputs + o) * a.width + c] = static_cast<float>(sum);
      }
    }
  }
}

void stream_mix_grad(const StreamMixGrad& g) {
  const StreamMix& a = g.forward;
  for (int64_t row = 0; row < a.rows; ++row) {
    const float* dout = g.dout + row * a.outputs * a.width;
    const float* w = a.weights + row * a.outputs * a.inputs();
    for (int64_t i = 0; i < a.inputs(); ++i) {
      const float* in = input_of(a, row, i);
      for (int64_t o = 0; g.dweights && o < a.outputs; ++o) {
        double sum = 0;
        for (int64_t c = 0; c < a.width; ++c) {
          sum += static_cast<double>(dout[o * a.width + c]) * in[c];
        }
        put(g.dweights + (row * a.outputs + o) * a.inputs() + i, sum, g.accumulate_dweights);
      }
      const bool stream = i < a.streams;
      float* din = stream ? g.dx : g.dy;
      if (!din) continue;
      din += stream ? (row * a.streams + i) * a.width : row * a.width;
      for (int64_t c = 0; c < a.width; ++c) {
        double sum = 0;
        for (int64_t o = 0; o < a.outputs; ++o) {
          sum += static_cast<double>(w[o * a.inputs() + i]) * dout[o * a.width + c];
        }
        put(din + c, sum, stream ? g.accumulate_dx : g.accumulate_dy);
      }
    }
  }
}

}  // namespace um::ref
