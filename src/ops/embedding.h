// Token embedding.
#pragma once

#include "ops/rows.h"

namespace um {

/// ids i32 [T], table [V, D] → [T, D].
Tensor embedding(const Tensor& ids, const Rows& table);

}  // namespace um
