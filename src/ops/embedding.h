// Token embedding.
#pragma once

#include "core/tensor.h"

namespace um {

/// ids i32 [T], table [V, D] → [T, D].
Tensor embedding(const Tensor& ids, const Tensor& table);

}  // namespace um
