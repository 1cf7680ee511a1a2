// Attention of few rows over many keys: decoding, where all heads that share a key are taken
// together so that each key is read once.
//
// Rows are lanes: scores lie transposed, [key][row], and come from the keys as they are, times the
// transposed queries. The bits are those of the other way (attention.cc): every sum runs over the
// same elements in the same order, exponentials by lane of their key's place in the block.
#pragma once

#include <cmath>

#include "kernels/cpu/isa/attention_tile.h"

namespace um::UM_ISA {
inline namespace attention_few {

constexpr int64_t kFewRows = 64;
static_assert(kFewRows % kWidth == 0 && kKeys % kWidth == 0);

/// A thread's buffers; rows are padded to `lanes`, a multiple of kWidth.
struct FewRows {
  int64_t rows, lanes, q_pad;
  float *queries, *queries_t;  ///< [rows, q_pad], [width, lanes]
  float *scores, *sums;        ///< [kKeys, lanes], [kWidth, lanes]
  float *largest, *factor;     ///< [lanes]
  float* more;                 ///< [more_floats], for the caller

  FewRows(int64_t count, const Attention& a, Scratch& scratch, int64_t more_floats)
      : rows(count), lanes(round_up(count, kWidth)), q_pad(round_up(a.qk_dim, kWidth)) {
    const int64_t width = a.qk_dim;
    Carver carver(
        scratch.floats(rows * q_pad + (width + kKeys + kWidth + 2) * lanes + more_floats + 112));
    queries = carver.take(rows * q_pad);
    queries_t = carver.take(width * lanes);
    scores = carver.take(kKeys * lanes);
    sums = carver.take(kWidth * lanes);
    largest = carver.take(lanes);
    factor = carver.take(lanes);
    more = carver.take(more_floats);
  }

  /// The queries of rows row_begin and on, scaled; nothing summed up yet.
  void begin(const HeadRows& head, int64_t row_begin) const {
    const Attention& a = head.a;
    for (int64_t r = 0; r < rows; r++) {
      copy_scaled(a.q + head.q_at(row_begin + r), a.qk_dim, a.scale * kLog2E, queries + r * q_pad);
    }
    pack_transposed(queries, q_pad, rows, a.qk_dim, {}, queries_t, lanes);
    std::memset(sums, 0, sizeof(float) * kWidth * lanes);
    for (int64_t r = 0; r < lanes; r++) largest[r] = kLowest;
  }
  /// Sums [rows, kWidth] and largest scores [rows].
  void end(float* to_sums, float* to_largest) const {
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t i = 0; i < kWidth; i++) to_sums[r * kWidth + i] = sums[i * lanes + r];
      to_largest[r] = largest[r];
    }
  }
};

/// Scores of kKeyRows keys and kVecs vectors of rows. Not inline: within a larger loop gcc 12 keeps
/// the sums in memory.
template <int kKeyRows, int kVecs>
__attribute__((noinline)) void score_tile(int64_t width, const float* keys, int64_t ld,
                                          const float* queries, int64_t lanes, float* scores) {
  product_tile<kKeyRows, kVecs, false, Start::zero>(width, keys, ld, queries, lanes, scores, lanes,
                                                    nullptr);
}

/// What to prefetch along a block of keys: rows of `bytes` bytes.
struct Along {
  const char* first = nullptr;
  int64_t row_bytes = 0, bytes = 0, count = 0;
  void rows(int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < smaller(end, count); i++) {
      for (int64_t c = 0; c < bytes; c += 64) {
        _mm_prefetch(first + i * row_bytes + c, _MM_HINT_T1);
      }
    }
  }
};

/// `width` channels from `begin` on of the rows from `key` on that are below `end`, a block of
/// them.
inline Along along(const HeadRows& head, const RowsView& rows, int64_t begin, int64_t width,
                   int64_t key, int64_t end) {
  if (key >= end) return {};
  const int64_t element = row_type_bits(rows.type()) / 8;
  const char* first = static_cast<const char*>(rows.values) + head.key_row(key) * rows.row_bytes;
  return {first + begin * element, rows.row_bytes, width * element, smaller(end - key, kKeys)};
}
inline Along along_k(const HeadRows& head, int64_t key, int64_t end) {
  const Attention& a = head.a;
  return along(head, a.is_narrow() ? a.narrow_k : RowsView(a.k, a.ldk),
               head.kv_head * a.k_head_stride, a.qk_dim, key, end);
}
inline Along along_v(const HeadRows& head, int64_t key, int64_t end) {
  const Attention& a = head.a;
  if (a.values_in_keys()) return {};
  return along(head, a.is_narrow() ? a.narrow_v : RowsView(a.v, a.ldv),
               head.kv_head * a.v_head_stride, a.v_dim, key, end);
}

/// scores[j] = <key j, every row> for kVecs vectors of rows.
template <int kVecs>
inline void score_columns(const FewRows& w, int64_t column, const float* keys, int64_t ld,
                          int64_t count, int64_t width, const Along& next, const Along& values) {
  // Sums enough to hide the latency of a multiply-add, and not more than there are registers.
  constexpr int kTile = kVecs == 1 ? 8 : kWidth == 16 ? 8 : 4;
  const float* q = w.queries_t + column;
  float* to = w.scores + column;
  int64_t j = 0;
  for (; j + kTile <= count; j += kTile) {
    next.rows(j, j + kTile);
    values.rows(j, j + kTile);
    score_tile<kTile, kVecs>(width, keys + j * ld, ld, q, w.lanes, to + j * w.lanes);
  }
  for (; j < count; j++) {
    score_tile<1, kVecs>(width, keys + j * ld, ld, q, w.lanes, to + j * w.lanes);
  }
}

/// Scores to -infinity where a row does not see the key: key..key+count, rows row_begin and on.
inline void hide_keys(const HeadRows& head, const FewRows& w, int64_t row_begin, int64_t key,
                      int64_t count) {
  for (int64_t r = 0; r < w.rows; r++) {
    for (int64_t j = larger(head.visible(row_begin + r) - key, 0); j < count; j++) {
      w.scores[j * w.lanes + r] = -INFINITY;
    }
  }
  for (int64_t r = 0; head.a.mask != nullptr && r < w.rows; r++) {
    const uint64_t seen = head.mask_of(row_begin + r, key);
    for (int64_t j = 0; j < count; j++) {
      if ((seen >> j & 1) == 0) w.scores[j * w.lanes + r] = -INFINITY;
    }
  }
}

/// The online softmax of a vector of rows: scores of `count` keys to exponentials, sums and largest
/// scores brought up to date.
inline void softmax_column(const FewRows& w, int64_t column, int64_t count) {
  float* scores = w.scores + column;
  Vec block = splat(kLowest);
  for (int64_t j = 0; j < count; j++) block = max(block, load(scores + j * w.lanes));
  const Vec before = load(w.largest + column), now = max(before, block);
  const Vec factor = exp2_down(before - now);
  store(w.largest + column, now);
  store(w.factor + column, factor);
  for (int64_t i = 0; i < kWidth; i++) {
    Vec added = splat(0.0f);
    for (int64_t j = i; j < count; j += kWidth) {
      const Vec p = exp2_down(load(scores + j * w.lanes) - now);
      store(scores + j * w.lanes, p);
      added = added + p;
    }
    float* sum = w.sums + i * w.lanes + column;
    store(sum, fma(load(sum), factor, added));
  }
}

/// Unnormalised outputs [rows, v_dim], sums [rows, kWidth] and largest scores [rows] of rows
/// row_begin..row_end (at most kFewRows) over keys key_begin..key_end. v_dim is a multiple of
/// kWidth, and there is no shared rope part.
inline void attend_few(const HeadRows& head, int64_t row_begin, int64_t row_end, int64_t key_begin,
                       int64_t key_end, float* out, float* sums, float* largest) {
  static thread_local Scratch scratch;
  const Attention& a = head.a;
  const int64_t rows = row_end - row_begin, end = smaller(key_end, head.visible(row_end - 1));
  const FewRows w(rows, a, scratch, HeadRows::widened_floats(a));
  w.begin(head, row_begin);
  std::memset(out, 0, sizeof(float) * rows * a.v_dim);
  for (int64_t key = key_begin; key < end; key += kKeys) {
    if (!head.any_sees(row_begin, row_end, key, key + kKeys)) continue;
    const int64_t count = smaller(kKeys, end - key);
    const KeyRows block = head.key_rows(key, count, w.more);
    Along next = along_k(head, key + count, end), values = along_v(head, key, end);
    for (int64_t column = 0; column < w.lanes;) {
      const bool two = column + 2 * kWidth <= w.lanes;
      (two ? score_columns<2> : score_columns<1>)(w, column, block.k, block.ldk, count, a.qk_dim,
                                                  next, values);
      next = values = {};
      column += two ? 2 * kWidth : kWidth;
    }
    hide_keys(head, w, row_begin, key, count);
    for (int64_t c = 0; c < w.lanes; c += kWidth) softmax_column(w, c, count);
    product<true, Start::scale>(rows, a.v_dim, count, w.scores, w.lanes, block.v, block.ldv, out,
                                a.v_dim, w.factor);
  }
  w.end(sums, largest);
}

}  // namespace attention_few
}  // namespace um::UM_ISA
