// Chunked linear + cross-entropy: the loss of an output head without ever holding all logits.
#pragma once

#include "ops/rows.h"

namespace um {

/// Per-token results, f32 [T]; rows with target < 0 give 0.
struct TokenLoss {
  Tensor loss;     ///< -log p(target), natural log
  Tensor z;        ///< (log-sum-exp)²
  Tensor correct;  ///< 1 where the argmax is the target
};

/// hidden [T, D], head [V, D], targets i32 [T], weights f32 [T]. The objective gains
/// Σ_t weights[t] * (loss[t] + z_weight * z[t]); weights carry the mean's 1/N and any loss weight.
///
/// Logits are made, used and dropped by blocks of rows. While a tape records, the gradients of
/// hidden and head are computed at once (as in Liger's fused loss: one matmul less than recomputing
/// logits) and put in their slots.
TokenLoss linear_cross_entropy(const Tensor& hidden, const Rows& head, const Tensor& targets,
                               const Tensor& weights, float z_weight = 0.0f);

}  // namespace um
