// oneDNN's matmul primitive behind a plain function: for the large gradients, and as the measure
// our own kernels are held to.
#pragma once

#include "kernels/args.h"

namespace um {

/// Computes `args` with oneDNN on the calling thread's OpenMP team. False (and C untouched) when
/// the problem is not one it takes: an empty dimension, a batch, or a bias together with
/// accumulation. Primitives are kept per thread and shape, so a repeated shape costs no set-up and
/// no allocation.
bool onednn_matmul(const Matmul& args);

}  // namespace um
