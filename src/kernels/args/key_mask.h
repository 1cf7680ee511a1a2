// Arguments of key masks: which keys a query attends to, beyond causality.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// A bit per key of the query's sequence, 64 to a word, lowest first; `sinks` keys (with a page
/// table a multiple of 64) before a sequence's own are always seen. Of its own, up to and with
/// itself, a query sees
///   with a window: the last `window` ones;
///   else: the `top_k` with the largest Σ_h weights[h] relu(scale <q_h, key>), all if there are no
///   more; of equal ones the earlier (DeepSeek-V3.2's lightning indexer).
/// Bits of later keys are unspecified. Keys are found like attention's (args/attention.h), whose
/// offsets these are; without a page table key `sinks` + i of a sequence is row q_offsets[s] + i.
struct KeyMask {
  int64_t sequences = 0, sinks = 0, window = 0;
  const int64_t *q_offsets = nullptr, *kv_offsets = nullptr;  ///< [sequences+1], from row 0 on
  int64_t top_k = 0, heads = 0, dim = 0;
  const float* q = nullptr;  ///< [T, heads*dim]
  int64_t ldq = 0;
  const float* weights = nullptr;  ///< [T, heads]
  int64_t ld_weights = 0;
  float scale = 1;
  const float* keys = nullptr;  ///< rows of dim
  int64_t ld_keys = 0;
  const int32_t* pages = nullptr;
  int64_t ld_pages = 0, page_rows = 0;
  int64_t* mask = nullptr;  ///< [T, ld_mask]
  int64_t ld_mask = 0;
};

}  // namespace um
