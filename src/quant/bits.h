// Which matrices get how many bits: by what rounding each one is expected to cost, within a budget.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "models/convert.h"
#include "models/layer_walk.h"

namespace um {

struct BitChoice {
  WeightTypes formats;  ///< of stored matrices, by name
  double bits = 0;      ///< per weight of the quantised matrices, with scales
  /// What rounding the matrix so is expected to cost, in nats of KL divergence a token.
  std::map<std::string, double> losses;
};

/// Chooses 4 or 8 bits for each parameter of `plan`, a conversion to kW4Rows, so that on average a
/// weight has at most `bits` with scales and the expected losses have the least sum (knapsack.h).
///
/// A matrix with rounding error E, inputs x and gradients g of the batches' loss by its outputs is
/// expected to cost ½ Σ (g·E·x)² over the batches' tokens, divided by their number: half of the
/// squared error in the metric of the empirical Fisher information, taken token by token (Kunstner
/// et al., arXiv 1905.12558, for what that leaves out). The gradients are taken layer by layer.
///
/// Parameters are the unit: all experts of a layer have one format. Matrices of the trunk that no
/// gradient reaches (an indexer's) have 8 bits where the budget holds them, MTP heads, which change
/// no text, 4. `progress` hears which of how many steps is next. Throws Error for a budget below 4
/// bits with scales, and where gradients are not finite.
BitChoice choose_bits(const Conversion& plan, std::vector<Batch> batches, double bits,
                      Device& device,
                      const std::function<void(int64_t step, int64_t steps)>& progress);

/// What that takes at most in memory, with so many tokens.
int64_t bit_choice_bytes(const ModelConfig& config, int64_t tokens);

}  // namespace um
