// Which keys each query attends to where it is not all before it: a window, or the best by an
// indexer (DeepSeek-V3.2, arXiv 2512.02556). A choice: no gradients here.
#pragma once

#include "core/tensor.h"
#include "ops/attention.h"
#include "ops/ragged.h"

namespace um {

/// A mask for ops/attention.h, i64 [T, words], that shows the sinks of `rows` and the last `window`
/// keys of each row. Undefined where that is all of them.
Tensor window_mask(Device& device, const Ragged& rows, int64_t window);

/// What an indexer compares: q [T, heads*dim] and weights [T, heads] of the queries, and `keys`
/// [rows, dim], those of a cache by its page table.
struct IndexedKeys {
  Tensor q, weights, keys;
  PageTable pages;
};
/// The same for the `top_k` keys of largest Σ_h weight_h relu(scale <q_h, key>).
Tensor index_mask(const IndexedKeys& indexed, const Ragged& rows, int64_t top_k, float scale);

/// Whether a row of the batch has more than `keys` keys of its own sequence before and with it.
bool sees_more_than(const Ragged& rows, int64_t keys);

}  // namespace um
