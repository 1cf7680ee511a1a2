// See key_mask.h.
#include "ops/key_mask.h"

#include <algorithm>

#include "ops/launch.h"

namespace um {
namespace {

int64_t longest(const Ragged& rows) {
  int64_t keys = 0;
  for (const SequenceRows& sequence : rows.layout)
    keys = std::max(keys, sequence.past + sequence.rows);
  return keys;
}

Tensor run(Device& device, const Ragged& rows, KeyMask args) {
  UM_CHECK(rows.first_row == 0, "a mask for rows from {} on", rows.first_row);
  const int64_t words = (rows.sinks + longest(rows) + 63) / 64;
  const Tensor mask = Tensor::empty(device, {rows.rows, words}, DType::i64);
  args.sequences = rows.sequences;
  args.sinks = rows.sinks;
  args.q_offsets = rows.q_offsets.i64();
  args.kv_offsets = rows.kv_offsets.i64();
  args.mask = mask.i64();
  args.ld_mask = words;
  launch(device, args);
  return mask;
}

}  // namespace

bool sees_more_than(const Ragged& rows, int64_t keys) {
  return longest(rows) > keys;
}

Tensor window_mask(Device& device, const Ragged& rows, int64_t window) {
  if (!sees_more_than(rows, window)) return {};
  return run(device, rows, {.window = window});
}

Tensor index_mask(const IndexedKeys& indexed, const Ragged& rows, int64_t top_k, float scale) {
  if (!sees_more_than(rows, top_k)) return {};
  const auto& [q, weights, keys, table] = indexed;
  const int64_t heads = weights.cols();
  UM_CHECK(q.cols() == heads * keys.cols() && q.rows() == rows.rows && weights.rows() == rows.rows,
           "an indexer's {} and {} against {}", q.shape().text(), weights.shape().text(),
           keys.shape().text());
  return run(q.device(), rows,
             {.top_k = top_k,
              .heads = heads,
              .dim = keys.cols(),
              .q = q.f32(),
              .ldq = q.ld(),
              .weights = weights.f32(),
              .ld_weights = weights.ld(),
              .scale = scale,
              .keys = keys.f32(),
              .ld_keys = keys.ld(),
              .pages = table.pages ? table.pages.i32() : nullptr,
              .ld_pages = table.pages ? table.pages.ld() : 0,
              .page_rows = table.page_rows});
}

}  // namespace um
