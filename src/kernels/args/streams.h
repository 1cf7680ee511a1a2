// Arguments of hyper-connections: how parallel residual streams are mixed around a sub-layer.
// kernels.h has the rules and the shape legend; S is the number of streams.
#pragma once

#include <cstdint>

namespace um {

inline constexpr int64_t kMaxStreams = 8;
inline constexpr int64_t kMaxSinkhornSteps = 64;

/// The weights of the mixtures from u [rows, S(S+2)] (docs/openpangu2.md):
///   pre_s  = sigmoid(alpha_0 u_s + beta_s) + eps
///   post_c = 2 sigmoid(alpha_1 u_(S+c) + beta_(S+c))
///   M      = sinkhorn(alpha_2 u_(2S+rS+c) + beta_(2S+rS+c)): each row's softmax plus eps, columns
///            divided by (their sum + eps), then `steps` - 1 times rows and columns so.
/// Only pre, from u [rows, S], where `post` is null.
struct StreamGates {
  int64_t rows = 0, streams = 0, steps = 0;
  const float* u = nullptr;                       ///< contiguous
  const float *alpha = nullptr, *beta = nullptr;  ///< [3] and [S(S+2)], or [1] and [S]
  float eps = 0;
  float* pre = nullptr;   ///< [rows, S]
  float* post = nullptr;  ///< [rows, S, S+1]: stream c takes M[r][c] of stream r, and post_c of the
                          ///< sub-layer's output, which comes last
  int64_t width() const { return post == nullptr ? streams : streams * (streams + 2); }
};
struct StreamGatesGrad {
  StreamGates forward;  ///< the inputs are read; `post` says which form it was
  const float *dpre = nullptr, *dpost = nullptr;  ///< null is zero
  float* du = nullptr;
  bool accumulate_du = false;
  float *dalpha = nullptr, *dbeta = nullptr;
  bool accumulate_dalpha = false, accumulate_dbeta = false;
};

/// out_o = Σ_i weights[o][i] in_i for each row: the inputs are the `streams` parts of x and, if it
/// is there, y. All rows are contiguous.
struct StreamMix {
  int64_t rows = 0, outputs = 0, streams = 0, width = 0;
  const float* weights = nullptr;  ///< [rows, outputs, inputs()]
  const float* x = nullptr;        ///< [rows, streams*width]
  const float* y = nullptr;        ///< [rows, width]
  float* out = nullptr;            ///< [rows, outputs*width]

  int64_t inputs() const { return streams + (y == nullptr ? 0 : 1); }
};
struct StreamMixGrad {
  StreamMix forward;  ///< the inputs are read
  const float* dout = nullptr;
  float *dweights = nullptr, *dx = nullptr, *dy = nullptr;
  bool accumulate_dweights = false, accumulate_dx = false, accumulate_dy = false;
};

}  // namespace um
