// Activation recomputation (Chen et al. 2016): keep a block's inputs, run it again when its
// gradient is due.
#pragma once

#include <functional>
#include <vector>

#include "core/tensor.h"

namespace um {

using Block = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

/// Runs `block` on `inputs`, recorded, and back from the gradients of its outputs (undefined:
/// none). Returns the gradients of the inputs for which `wanted` says so; undefined where none
/// arrives. Those of parameters go to their slots.
std::vector<Tensor> run_back(const Block& block, std::vector<Tensor> inputs,
                             const std::vector<bool>& wanted, std::vector<Tensor> output_grads);

/// Runs `block` on `inputs` without recording it and records one node that repeats it, recorded, in
/// the backward pass. The same arithmetic in the same order: gradients are bit-equal to keeping
/// everything. The block must be a pure function of its inputs and of parameters.
std::vector<Tensor> recompute(const Block& block, const std::vector<Tensor>& inputs);

}  // namespace um
