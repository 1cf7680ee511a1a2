// See kv_pool.h.
#include "nn/kv_pool.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace um {

int64_t KvLayout::page_bytes(const Widths& widths, DType dtype) {
  const int64_t f32 = kPageRows * widths.index + kConvRing * widths.conv;
  return kPageRows *
             (CacheRows::row_bytes(widths.k, dtype) + CacheRows::row_bytes(widths.v, dtype)) +
         4 * f32;
}

KvPool::KvPool(Device& device, const KvLayout& layout, int64_t pages, DType dtype)
    : device_(device), pages_(pages), sinks_(layout.sinks), conv_taps_(layout.conv_taps) {
  const int64_t most = (std::numeric_limits<int32_t>::max() - sinks_) / kPageRows;
  UM_CHECK(pages > 0 && pages <= most, "a KV cache of {} pages: expected 1 to {}", pages, most);
  UM_CHECK(sinks_ >= 0 && sinks_ % kPageRows == 0, "a KV cache with {} sinks: a multiple of {}",
           sinks_, kPageRows);
  const int64_t rows = pages * kPageRows + sinks_;
  const auto some = [&](int64_t count, int64_t width) {
    return width > 0 ? Tensor::empty(device, {count, width}) : Tensor();
  };
  for (const KvLayout::Widths& w : layout.layers) {
    page_bytes_ += KvLayout::page_bytes(w, dtype);
    layers_.push_back({CacheRows::empty(device, rows, w.k, dtype),
                       w.v > 0 ? CacheRows::empty(device, rows, w.v, dtype) : CacheRows(),
                       some(rows, w.index), some(pages * kConvRing, w.conv)});
  }
}

namespace {

/// Appends the pool rows of positions begin..end.
void add_slots(std::span<const int32_t> pages, int64_t begin, int64_t end,
               std::vector<int32_t>& slots) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t page = pages[static_cast<size_t>(i / kPageRows)];
    slots.push_back(static_cast<int32_t>(page * kPageRows + i % kPageRows));
  }
}

void check_sequence(const KvSequence& sequence, const KvPool& pool, size_t number) {
  UM_CHECK(sequence.past >= 0 && sequence.rows >= 0, "sequence {}: {} rows behind {}", number,
           sequence.rows, sequence.past);
  const int64_t needed = KvPool::pages_for(sequence.past + sequence.rows);
  UM_CHECK(std::ssize(sequence.pages) >= needed,
           "sequence {}: the cache is full: {} positions take {} pages, there are {}", number,
           sequence.past + sequence.rows, needed, sequence.pages.size());
  for (const int32_t page : sequence.pages)
    UM_CHECK(page >= 0 && page < pool.pages(), "sequence {}: page {} of a pool of {}", number, page,
             pool.pages());
}

Tensor ids(Device& device, const std::vector<int32_t>& values) {
  return Tensor::from(device, {std::ssize(values)}, std::span(values));
}

}  // namespace

KvView KvView::make(KvPool& pool, std::span<const KvSequence> sequences) {
  KvView view;
  view.pool = &pool;
  size_t longest = 1;
  std::vector<int32_t> slots, prompt_slots;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const KvSequence& sequence = sequences[s];
    check_sequence(sequence, pool, s);
    longest = std::max(longest, sequence.pages.size());
    const int64_t end = sequence.past + sequence.rows;
    add_slots(sequence.pages, sequence.past, end, slots);
    if (!sequence.prompt) continue;
    UM_CHECK(view.prompt_sequences == static_cast<int64_t>(s),
             "sequence {}: prompt rows behind generated ones", s);
    ++view.prompt_sequences;
    view.prompt_rows += sequence.rows;
    for (int64_t i = 0; i < pool.sinks(); ++i)
      prompt_slots.push_back(static_cast<int32_t>(pool.pages() * kPageRows + i));
    add_slots(sequence.pages, 0, end, prompt_slots);
  }
  // The pages of the sinks come first in every table.
  const auto sink_pages = static_cast<size_t>(pool.sinks() / kPageRows);
  longest += sink_pages;
  std::vector<int32_t> table(sequences.size() * longest, 0);
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto row = table.begin() + static_cast<std::ptrdiff_t>(s * longest);
    std::iota(row, row + static_cast<std::ptrdiff_t>(sink_pages),
              static_cast<int32_t>(pool.pages()));
    std::copy(sequences[s].pages.begin(), sequences[s].pages.end(),
              row + static_cast<std::ptrdiff_t>(sink_pages));
  }
  view.pages = Tensor::from(pool.device(), {std::ssize(sequences), static_cast<int64_t>(longest)},
                            std::span(table));
  view.slots = ids(pool.device(), slots);
  view.prompt_slots = ids(pool.device(), prompt_slots);
  if (pool.conv_taps() > 0) view.convs = ConvPlan::make(pool.device(), sequences, pool.conv_taps());
  return view;
}

}  // namespace um
