// RMSNorm (Zhang & Sennrich 2019) alone, as a sandwich step, and as the two halves of an MTP input.
#pragma once

#include "core/tensor.h"

namespace um {

/// x [T, D], gain [D] → gain * x / sqrt(mean(x²) + eps). With a gain [d] each of the D/d parts of a
/// row (the heads of a query or key) is normed on its own.
Tensor rmsnorm(const Tensor& x, const Tensor& gain, float eps);

/// Both outputs of a step along the residual stream.
struct Residual {
  Tensor y;  ///< the stream after the sub-layer, [T, D]
  Tensor z;  ///< its norm: the next sub-layer's input, [T, D]
};

/// y = x + post(v), z = pre(y). `gain_post` undefined: y = x + v (pre-norm models).
/// With gains c/√L on `post` this is DSSN (Pangu Ultra, arXiv 2504.07866).
Residual residual_norm(const Tensor& x, const Tensor& v, const Tensor& gain_post,
                       const Tensor& gain_pre, float eps);

/// concat(norm(a), norm(b)) along the columns: a, b [T, D] → [T, 2D].
Tensor concat_norm(const Tensor& a, const Tensor& gain_a, const Tensor& b, const Tensor& gain_b,
                   float eps);

}  // namespace um
