// Rotary position embedding (Su et al. 2021) on queries and keys, and MLA's fused latent norm +
// rope.
#pragma once

#include <span>

#include "core/tensor.h"
#include "ops/rows.h"

namespace um {

/// Cosines and sines: [positions, dim], dim/2 cosines then dim/2 sines of position * frequency of
/// the dim/2 pairs of channels, times `amplitude`. Angles are computed in f64.
Tensor rope_table(Device& device, int64_t positions, std::span<const double> frequencies,
                  double amplitude = 1.0);

/// Rotates channels [begin, begin+table.cols) of each head of x [T, heads*head_dim].
/// interleave: pairs are (2i, 2i+1), else (i, i+dim/2).
Tensor rope(const Tensor& x, const Tensor& positions, const Tensor& table, int64_t heads,
            int64_t begin, bool interleave);

/// MLA's key side: kv_a [T, rank+dim] → the normed latent and the rotated shared key.
struct LatentKey {
  Tensor latent;  ///< [T, rank]
  Tensor k_rope;  ///< [T, dim]
};
LatentKey latent_norm_rope(const Tensor& kv_a, const Tensor& gain, float eps,
                           const Tensor& positions, const Tensor& table, bool interleave);

/// The same into rows `slots` (i32 [T]) of a cache of width rank+dim, without gradient.
void latent_norm_rope_into(const Tensor& kv_a, const Tensor& gain, float eps,
                           const Tensor& positions, const Tensor& table, bool interleave,
                           const Rows& cache, const Tensor& slots);

/// Copies a matrix into equally shaped (possibly strided) memory, without gradient.
void copy_into(const Tensor& from, const Tensor& to);

}  // namespace um
