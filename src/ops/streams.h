// Hyper-connections: several residual streams, mixed before and after each sub-layer by weights
// that follow from the streams themselves (Zhu et al. 2024, arXiv 2409.19606; with the streams' own
// mixture held doubly stochastic, Xie et al. 2025, arXiv 2512.24880; openPangu-2.0).
#pragma once

#include "core/tensor.h"

namespace um {

/// For S streams; kernels/args/streams.h has the formulas.
struct StreamWeights {
  Tensor pre;   ///< [T, S]: the sub-layer's input from the streams
  Tensor post;  ///< [T, S*(S+1)]: the streams from themselves and the sub-layer's output
};

/// u [T, S*(S+2)], alpha [3], beta [S*(S+2)] → both; `steps` of Sinkhorn's iteration.
StreamWeights stream_weights(const Tensor& u, const Tensor& alpha, const Tensor& beta,
                             int64_t streams, int64_t steps);
/// u [T, S], alpha [1], beta [S] → pre alone.
Tensor merge_weights(const Tensor& u, const Tensor& alpha, const Tensor& beta);

/// x [T, S*D], weights [T, O*S] → [T, O*D]; with y [T, D] as a further stream weights are
/// [T, O*(S+1)].
Tensor mix_streams(const Tensor& x, const Tensor& y, const Tensor& weights, int64_t streams);

}  // namespace um
