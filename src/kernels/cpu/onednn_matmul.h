// oneDNN's matmul primitive behind a plain function: for the large gradients, and as the measure
// our own kernels are held to.
#pragma once

#include "kernels/args.h"

namespace um {

/// Computes `args` with oneDNN on the calling thread's OpenMP team, of operands that are both
/// stored in f32 or both in bf16 (it rounds none). False (and C untouched) when the problem is not
/// one it takes here: an empty dimension, a batch, a bias together with accumulation, or bf16 on a
/// processor it has no code for. Primitives are kept per thread and shape, so a repeated shape
/// costs no set-up and no allocation.
bool onednn_matmul(const Matmul& args);

/// The instructions for products of bf16 that oneDNN finds here: "AMX", "AVX512-BF16"; null: none.
const char* bf16_instructions();

}  // namespace um
