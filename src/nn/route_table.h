// RouteTable: the experts that a forward uses in place of its routers' choice.
//
// Where a sampler and a trainer choose different experts for a token, the trainer's gradient is
// that of another function than the one that was sampled from. With the sampler's choices given
// back, the routers still score all experts, so weights and gradients are those of the given ones
// (rollout routing replay: Ma et al. 2025, arXiv 2510.11370).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace um {

struct RouteTable {
  /// i32 [T, K] by MoE layer, distinct in a row, in the order in which they are added up. Layers
  /// behind the last, and undefined ones, choose for themselves.
  std::vector<Tensor> layers = {};

  /// From routes [T, layers, K] of T tokens, as the engine reports them. Throws Error for another
  /// number of them, and for a row that is no choice of K among `experts` experts.
  static RouteTable make(Device& device, std::span<const int16_t> routes, int64_t tokens,
                         int64_t layers, int64_t top_k, int64_t experts);

  /// Of an MoE layer; undefined: its router chooses.
  Tensor of(int64_t moe_layer) const;
};

}  // namespace um
