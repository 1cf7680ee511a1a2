// The gated feed-forward block SwiGLU (Shazeer 2020) as one op.
#pragma once

#include "ops/linear.h"

namespace um {

/// x [T, D], gate_up [2F, D] (gate rows, then up rows), down [D, F] → [T, D].
/// down · (silu(gate x) * up x). Only x and the gate/up product are kept for the gradient; the
/// activation is recomputed from them.
Tensor swiglu_mlp(const LinearInput& x, const Rows& gate_up, const Rows& down);

}  // namespace um
