// Arguments of rotary positions, MLA's key side, and attention.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

#include "kernels/args/int8_rows.h"

namespace um {

/// Rotary embedding on channels [begin, begin+dim) of each head; other channels are copied.
/// table is [positions, dim]: dim/2 cosines, then dim/2 sines. Pairs are (2i, 2i+1) when
/// `interleave`, else (i, i+dim/2); the result keeps the layout of its input. `inverse` rotates
/// back (the gradient).
struct Rope {
  int64_t rows = 0, heads = 0, head_dim = 0, begin = 0, dim = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const int32_t* positions = nullptr;  ///< [rows]
  const float* table = nullptr;
  bool interleave = false, inverse = false;
  float* y = nullptr;
  int64_t ldy = 0;
  bool accumulate = false;
};

/// MLA's shared key side: kv_a [rows, rank+dim] → latent [rows, rank] = RMSNorm(first rank
/// columns), k_rope [rows, dim] = RoPE(rest). Both outputs may be strided, and `slots` says which
/// of their rows each row goes to (they are written into a cache).
struct LatentNormRope {
  int64_t rows = 0, rank = 0, dim = 0;
  const float* kv_a = nullptr;
  int64_t ld_kv_a = 0;
  const float* gain = nullptr;
  float eps = 0;
  const int32_t* positions = nullptr;
  const float* table = nullptr;
  bool interleave = false;
  float* latent = nullptr;
  int64_t ld_latent = 0;
  float* k_rope = nullptr;
  int64_t ld_k_rope = 0;
  const int32_t* slots = nullptr;  ///< [rows]; null: row r to row r
  float* inv_rms = nullptr;
};
struct LatentNormRopeGrad {
  int64_t rows = 0, rank = 0, dim = 0;
  const float* dlatent = nullptr;  ///< [rows, rank], contiguous; null is zero
  const float* dk_rope = nullptr;  ///< [rows, dim], contiguous; null is zero
  const float* kv_a = nullptr;
  int64_t ld_kv_a = 0;
  const float *gain = nullptr, *inv_rms = nullptr;
  const int32_t* positions = nullptr;
  const float* table = nullptr;
  bool interleave = false;
  float* dkv_a = nullptr;  ///< [rows, rank+dim], contiguous
  bool accumulate_dkv_a = false;
  float* dgain = nullptr;
  bool accumulate_dgain = false;
};

/// Causal attention over ragged sequences, blockwise: no [T,T] matrix is ever held.
/// Query row t of head h is q + t*ldq + h*(qk_dim+rope_dim): qk_dim channels against the head's own
/// key, then rope_dim channels against a key part shared by all heads (MLA; 0 elsewhere). Head h
/// reads key and value head h / (heads/kv_heads) at k + row*ldk + kvh*k_head_stride (width qk_dim)
/// and likewise v (v_dim). Sequence s has queries q_offsets[s]..q_offsets[s+1] and keys
/// kv_offsets[s]..kv_offsets[s+1]; its queries are the LAST of its positions (kv_len - q_len rows
/// are past). MLA's absorbed form is kv_heads = 1, qk_dim = rank + rope, v = the same rows as k.
/// With a page table the keys of a sequence lie anywhere: key j is row
/// pages[s*ld_pages + j/page_rows]*page_rows + j%page_rows of k, k_rope and v, and of kv_offsets
/// only the differences count. Keys and values may be bf16 or int8 rows instead of f32 ones: then k
/// and v are null and there is no rope part, and head h's channels begin at h*k_head_stride as
/// ever.
/// Over int8 rows numbers are rounded to 16 bits, so that products with the rows are sums of
/// integers: the query times scale*log2(e), per row, head and kInt8Group channels of the cached
/// row; and what weighs the values, exp(score) times the value's scale, per row, head, kInt8Group
/// channels and block of 64 keys from the sequence's first on. The largest magnitude (at least
/// 1e-30) becomes 32767, ties go to the even number; what is not finite makes the sum NaN.
struct Attention {
  int64_t heads = 0, kv_heads = 0, qk_dim = 0, rope_dim = 0, v_dim = 0;
  int64_t sequences = 0;
  const int64_t *q_offsets = nullptr, *kv_offsets = nullptr;  ///< [sequences+1]
  int64_t first_row = 0;           ///< query row of a larger batch that q, out and lse begin with
  const int32_t* pages = nullptr;  ///< [sequences, ld_pages]; null: keys are contiguous
  int64_t ld_pages = 0, page_rows = 0;  ///< page_rows: a multiple of 64
  const int64_t* mask = nullptr;  ///< [T, ld_mask], laid out like q: bit j of a row says whether
                                  ///< its query sees key j of those up to itself; null: all
  int64_t ld_mask = 0;
  const float* q = nullptr;
  int64_t ldq = 0;
  const float* k = nullptr;
  int64_t ldk = 0, k_head_stride = 0;
  const float* k_rope = nullptr;
  int64_t ld_k_rope = 0;
  const float* v = nullptr;
  int64_t ldv = 0, v_head_stride = 0;
  RowsView narrow_k = {}, narrow_v = {};  ///< of the format kBf16Rows or kInt8CacheRows
  float scale = 1;
  float* out = nullptr;  ///< [T, heads*v_dim], row stride ld_out
  int64_t ld_out = 0;
  float* lse =
      nullptr;  ///< [heads, T] log-sum-exp of the scaled scores, for the gradient; may be null

  bool is_narrow() const { return narrow_k.values != nullptr; }
  bool is_int8() const { return is_narrow() && narrow_k.type() == RowType::i8; }
  /// The absorbed form: a key's first v_dim channels are the value.
  bool values_in_keys() const { return is_narrow() ? narrow_k.values == narrow_v.values : k == v; }
};
/// Gradients have the strides of their tensors (dq like q, dk like k, dk_rope like k_rope, dv like
/// v) and are overwritten, or added to by `accumulate_*`. Only used in f32 and without
/// pages; a past (more keys than queries) is then sinks, which come before a sequence's own keys.
struct AttentionGrad {
  Attention forward;            ///< the forward's arguments: out and lse are read
  const float* dout = nullptr;  ///< [T, heads*v_dim], row stride forward.ld_out
  float *dq = nullptr, *dk = nullptr, *dk_rope = nullptr, *dv = nullptr;
  bool accumulate_dq = false, accumulate_dk = false, accumulate_dk_rope = false,
       accumulate_dv = false;
};

}  // namespace um
