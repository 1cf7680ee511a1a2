// A short causal convolution over the rows of each sequence, added to its input.
#pragma once

#include "core/tensor.h"

namespace um {

/// x [T, N] + the depthwise convolution of its first C columns by `weight`, C * taps values of any
/// shape → [T, N]. `sources` i32 [T, taps-1] says where the earlier rows of each row are: in x, or
/// in `past` [any, C] (then without gradient); kernels/args/causal_conv.h has its values.
Tensor causal_conv(const Tensor& x, const Tensor& weight, int64_t taps, const Tensor& sources,
                   const Tensor& past = {});

}  // namespace um
