// Putting matrices together and taking them apart, with gradients: what is a slice or a
// concatenation elsewhere.
#pragma once

#include <array>

#include "core/tensor.h"
#include "ops/ragged.h"

namespace um {

/// x [T, a+b+c] → [T, a], [T, b], [T, c]: a projection that makes queries, keys and values at once.
std::array<Tensor, 3> split_columns(const Tensor& x, const std::array<int64_t, 3>& widths);

/// The rows of `head` (sinks*W values of any shape) before each sequence's own rows x [T, W], laid
/// out as `rows` of Ragged::with_sinks says → [sequences*sinks + T, W].
Tensor prepend_rows(const Tensor& head, const Tensor& x, const Ragged& rows);

}  // namespace um
