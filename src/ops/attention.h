// Fused causal attention over ragged sequences, in the layouts our models have.
#pragma once

#include "core/tensor.h"
#include "ops/ragged.h"
#include "ops/rows.h"

namespace um {

/// Where the keys of a ragged batch lie in the rows of a pool (kernels/args/attention.h).
struct PageTable {
  Tensor pages;  ///< i32 [sequences, any]
  int64_t page_rows = 0;
};

/// Grouped-query attention. q [T, heads*dim], k [S, kv_heads*dim], v [S, kv_heads*v_dim]
/// → [T, heads*v_dim]. Scores are scaled by `scale`.
Tensor attention_gqa(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                     int64_t kv_heads, float scale, const Ragged& rows);

/// The same over keys and values in a cache (no gradient).
Tensor attention_gqa_cached(const Tensor& q, const Rows& k, const Rows& v, int64_t heads,
                            int64_t kv_heads, float scale, const Ragged& rows,
                            const PageTable& pages);

/// MLA, naive form. q [T, heads*(nope+rope)], kv [S, heads*(nope+v_dim)] with [key | value] per
/// head, k_rope [S, rope] shared by all heads → [T, heads*v_dim]. `mask` (ops/key_mask.h): of the
/// keys up to its own, those that a row sees; all if it is undefined.
Tensor attention_mla(const Tensor& q, const Tensor& kv, const Tensor& k_rope, int64_t heads,
                     int64_t nope, float scale, const Ragged& rows, const Tensor& mask = {});

/// MLA, absorbed form (no gradient): q [T, heads*(rank+rope)] against the latents [S, rank+rope] in
/// a cache, whose first `rank` columns are also the values → [T, heads*rank].
Tensor attention_latent(const Tensor& q, const Rows& latents, int64_t heads, int64_t rank,
                        float scale, const Ragged& rows, const PageTable& pages,
                        const Tensor& mask = {});

}  // namespace um
