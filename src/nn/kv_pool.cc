// See kv_pool.h.
#include "nn/kv_pool.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace um {

int64_t KvLayout::page_bytes(const Widths& widths, DType dtype) {
  const auto row_bytes = [&](int64_t width) {
    return dtype == DType::i8 ? kInt8CacheRows.row_bytes(width)
                              : width * static_cast<int64_t>(dtype_size(dtype));
  };
  const int64_t f32 = kPageRows * widths.index + kConvRing * widths.conv;
  return kPageRows * (row_bytes(widths.k) + row_bytes(widths.v)) + 4 * f32;
}

int64_t KvLayout::pool_bytes(int64_t pages, DType dtype) const {
  int64_t page = 0;
  for (const Widths& widths : layers) page += page_bytes(widths, dtype);
  return (pages + sinks / kPageRows) * page;
}

KvPool::KvPool(Device& device, const KvLayout& layout, int64_t pages, DType dtype)
    : device_(device), pages_(pages), sinks_(layout.sinks), conv_taps_(layout.conv_taps) {
  const int64_t most = (std::numeric_limits<int32_t>::max() - sinks_) / kPageRows;
  UM_CHECK(pages > 0 && pages <= most, "a KV cache of {} pages: expected 1 to {}", pages, most);
  UM_CHECK(sinks_ >= 0 && sinks_ % kPageRows == 0, "a KV cache with {} sinks: a multiple of {}",
           sinks_, kPageRows);
  const int64_t rows = pages * kPageRows + sinks_;
  const RowFormat format = cache_format(dtype);
  const auto some = [&](int64_t count, int64_t width) {
    return width > 0 ? Tensor::empty(device, {count, width}) : Tensor();
  };
  for (const KvLayout::Widths& w : layout.layers) {
    page_bytes_ += KvLayout::page_bytes(w, dtype);
    layers_.push_back({Rows::empty(device, {rows, w.k}, format),
                       w.v > 0 ? Rows::empty(device, {rows, w.v}, format) : Rows(),
                       some(rows, w.index), some(pages * kConvRing, w.conv)});
  }
}

namespace {

/// Room in the page tables, so that a sequence which grows seldom needs larger ones.
constexpr int64_t kTableStep = 16;

/// Writes the pool rows of positions begin..end; returns what is behind them.
int32_t* write_slots(std::span<const int32_t> pages, int64_t begin, int64_t end, int32_t* slots) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t page = pages[static_cast<size_t>(i / kPageRows)];
    *slots++ = static_cast<int32_t>(page * kPageRows + i % kPageRows);
  }
  return slots;
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

}  // namespace

KvView KvView::make(KvPool& pool, std::span<const KvSequence> sequences) {
  KvView view;
  view.assign(pool, sequences);
  return view;
}

void KvView::assign(KvPool& of, std::span<const KvSequence> sequences) {
  pool = &of;
  prompt_sequences = prompt_rows = 0;
  int64_t longest = 1, rows = 0, prompt_keys = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const KvSequence& sequence = sequences[s];
    check_sequence(sequence, of, s);
    longest = std::max(longest, std::ssize(sequence.pages));
    rows += sequence.rows;
    if (!sequence.prompt) continue;
    UM_CHECK(prompt_sequences == static_cast<int64_t>(s),
             "sequence {}: prompt rows behind generated ones", s);
    ++prompt_sequences;
    prompt_rows += sequence.rows;
    prompt_keys += of.sinks() + sequence.past + sequence.rows;
  }
  // The pages of the sinks come first in every table.
  const int64_t sink_pages = of.sinks() / kPageRows;
  const int64_t width = (sink_pages + longest + kTableStep - 1) / kTableStep * kTableStep;
  Device& device = of.device();
  pages.renew(device, {std::ssize(sequences), width}, DType::i32);
  slots.renew(device, {rows}, DType::i32);
  prompt_slots.renew(device, {prompt_keys}, DType::i32);
  convs = of.conv_taps() > 0 ? ConvPlan::make(device, sequences, of.conv_taps()) : ConvPlan();
  if (device.dry()) return;
  int32_t *table = pages.i32(), *slot = slots.i32(), *prompt_slot = prompt_slots.i32();
  for (const KvSequence& sequence : sequences) {
    const int64_t end = sequence.past + sequence.rows;
    std::iota(table, table + sink_pages, static_cast<int32_t>(of.pages()));
    const auto rest = std::copy(sequence.pages.begin(), sequence.pages.end(), table + sink_pages);
    std::fill(rest, table += width, 0);
    slot = write_slots(sequence.pages, sequence.past, end, slot);
    if (!sequence.prompt) continue;
    std::iota(prompt_slot, prompt_slot + of.sinks(), static_cast<int32_t>(of.pages() * kPageRows));
    prompt_slot = write_slots(sequence.pages, 0, end, prompt_slot + of.sinks());
  }
}

}  // namespace um
