// Attention over int8 keys and values by sums of integers, in twice as many products a step as f32
// has. Queries, and what weighs the values (a probability times the value's scale), are rounded to
// 16 bits per row and group of channels; a group's sum over 64 channels, or over the 64 keys of a
// block, is then exact in 32 bits, and what it is multiplied by is added up in order.
//
// Any number of rows goes this way, 64 at a time, and nothing that a row is rounded or scaled by
// comes from another row or from a key that it does not see: so its bits do not depend on its
// company. Rows are lanes, as in attention_few.h.
#pragma once

#include "kernels/cpu/isa/attention_few.h"
#include "kernels/cpu/isa/int_pairs.h"

namespace um::UM_ISA {
inline namespace attention_int8 {

constexpr float kMost = 32767;  ///< of 16 bits; 64 products with 127 fit 32 bits
static_assert(kKeys <= 64 && kInt8Group <= 64 && kKeys % 2 == 0);

/// Channels of a head that share a scale.
struct Segment {
  int64_t begin, width;  ///< of the head's channels
  int64_t pair;          ///< where its pairs of channels begin
  int64_t group;         ///< of the row's scales
};

/// The segments of a head's `width` channels from channel `first` of the row on.
class Segments {
 public:
  Segments(int64_t first, int64_t width) : first_(first), width_(width) {}
  int64_t most() const { return width_ / kInt8Group + 2; }
  int64_t pairs() const { return width_ / 2 + most(); }
  template <class Body>
  void each(const Body& body) const {
    Segment s{0, 0, 0, first_ / kInt8Group};
    for (; s.begin < width_; s.begin += s.width, s.group++) {
      s.width = smaller((s.group + 1) * kInt8Group - first_ - s.begin, width_ - s.begin);
      body(s);
      s.pair += (s.width + 1) / 2;
    }
  }

 private:
  int64_t first_, width_;
};

/// A thread's buffers beside those of FewRows.
struct Int8Rows {
  FewRows few;
  Segments k, v;
  int64_t k_pairs, v_pad;
  int32_t* queries;  ///< [k_pairs, lanes]: pairs of channels
  float* q_scales;   ///< [k segments, lanes]
  int32_t* keys;     ///< [kKeys, k_pairs]
  int32_t* values;   ///< [kKeys / 2, v_pad]: pairs of keys
  int32_t* weights;  ///< [kKeys / 2, lanes]: the same
  float* w_scales;   ///< [lanes]

  Int8Rows(int64_t rows, const HeadRows& head, Scratch& scratch)
      : few(rows, head.a, scratch, floats(rows, head)),
        k(k_segments(head)),
        v(v_segments(head)),
        k_pairs(round_up(k.pairs(), 16)),
        v_pad(round_up(head.a.v_dim, 16) + 16) {
    Carver carver(few.more);
    const auto ints = [&](int64_t n) { return reinterpret_cast<int32_t*>(carver.take(n)); };
    queries = ints(k_pairs * few.lanes);
    q_scales = carver.take(k.most() * few.lanes);
    keys = ints(kKeys * k_pairs);
    values = ints(kKeys / 2 * v_pad);
    weights = ints(kKeys / 2 * few.lanes);
    w_scales = carver.take(few.lanes);
  }

 private:
  static Segments k_segments(const HeadRows& head) {
    return {head.kv_head * head.a.k_head_stride, head.a.qk_dim};
  }
  static Segments v_segments(const HeadRows& head) {
    return {head.kv_head * head.a.v_head_stride, head.a.v_dim};
  }
  static int64_t floats(int64_t rows, const HeadRows& head) {
    const Segments k = k_segments(head);
    const int64_t lanes = round_up(rows, kWidth), pairs = round_up(k.pairs(), 16);
    return (pairs + k.most() + kKeys / 2 + 1) * lanes + kKeys * pairs +
           kKeys / 2 * (round_up(head.a.v_dim, 16) + 16) + 96;
  }
};

/// How numbers are brought to 16 bits and back.
struct Step {
  Vec inverse, step;
  /// `check`: NaN where one of them is not finite, else zero.
  Step(Vec largest, Vec check) {
    const Vec top = max(largest, splat(1e-30f));
    inverse = splat(kMost) / top;
    step = fma(top, splat(1 / kMost), check);
  }
};

/// The transposed queries of a segment as pairs, for kWidth rows from `column` on.
inline void round_queries(const Int8Rows& w, const Segment& s, int64_t at, int64_t column) {
  const float* q = w.few.queries_t + s.begin * w.few.lanes + column;
  const int64_t ld = w.few.lanes;
  const Vec zero = splat(0.0f);
  Vec largest = zero, check = zero;
  for (int64_t c = 0; c < s.width; c++) {
    const Vec x = load(q + c * ld);
    largest = max(largest, max(x, zero - x));
    check = fma(x, zero, check);  // NaN where a number is not finite
  }
  const Step to(largest, check);
  store(w.q_scales + at * ld + column, to.step);
  for (int64_t c = 0; c < s.width; c += 2) {
    const Vec first = load(q + c * ld), second = c + 1 < s.width ? load(q + (c + 1) * ld) : zero;
    store_ints(w.queries + (s.pair + c / 2) * ld + column,
               pairs_of(first * to.inverse, second * to.inverse));
  }
}

/// Keys as 16 bits, segments at their pairs. (Groups are even: with an even first channel no pair
/// lies in two of them.)
inline void widen_keys(const Int8Rows& w, const HeadRows& head, int64_t key, int64_t count) {
  const int64_t first = head.kv_head * head.a.k_head_stride;
  for (int64_t j = 0; j < count; j++) {
    const int8_t* row = head.a.narrow_k.from_row(head.key_row(key) + j).i8() + first;
    int32_t* to = w.keys + j * w.k_pairs;
    if (first % 2 == 0) {
      widen_pairs(row, head.a.qk_dim, to);
    } else {
      w.k.each([&](const Segment& s) { widen_pairs(row + s.begin, s.width, to + s.pair); });
    }
  }
}

/// Values as pairs of keys of 16 bits; behind the last key are zeros.
inline void pair_values(const Int8Rows& w, const HeadRows& head, int64_t key, int64_t count) {
  const int64_t first = head.kv_head * head.a.v_head_stride, width = head.a.v_dim;
  const auto row = [&](int64_t j) {
    return head.a.narrow_v.from_row(head.key_row(key) + j).i8() + first;
  };
  const __m128i none = _mm_setzero_si128();
  for (int64_t j = 0; j < count; j += 2) {
    const int8_t *a = row(j), *b = j + 1 < count ? row(j + 1) : nullptr;
    int32_t* to = w.values + j / 2 * w.v_pad;
    int64_t c = 0;
    for (; c + 16 <= width; c += 16) {
      const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + c));
      const __m128i y =
          b != nullptr ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + c)) : none;
      auto* halves = reinterpret_cast<__m256i*>(to + c);
      _mm256_storeu_si256(halves, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(x, y)));
      _mm256_storeu_si256(halves + 1, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(x, y)));
    }
    for (; c < width; c++) to[c] = pair(a[c], b != nullptr ? b[c] : 0);
  }
}

/// sums[i][n] = pairs of row i of `a` times vector n of b's columns.
template <int kRows, int kVecs, bool kTransA>
inline __attribute__((always_inline)) void sum_pairs(int64_t depth, const int32_t* a, int64_t lda,
                                                     const int32_t* b, int64_t ldb,
                                                     Ints (&sums)[kRows][kVecs]) {
  for (int i = 0; i < kRows; i++) {
    for (int n = 0; n < kVecs; n++) sums[i][n] = no_ints();
  }
  for (int64_t k = 0; k < depth; k++) {
    Ints right[kVecs];
    for (int n = 0; n < kVecs; n++) right[n] = load_ints(b + k * ldb + n * kWidth);
    for (int i = 0; i < kRows; i++) {
      const Ints left = splat_ints(kTransA ? a[k * lda + i] : a[i * lda + k]);
      for (int n = 0; n < kVecs; n++) sums[i][n] = add_pairs(sums[i][n], left, right[n]);
    }
  }
}

/// Scores of kKeyRows keys and kVecs vectors of rows gain a segment's part.
template <int kKeyRows, int kVecs>
__attribute__((noinline)) void score_int8(const Int8Rows& w, const Segment& s, int64_t at,
                                          int64_t j, int64_t column, const float* scales,
                                          int64_t stride) {
  const int64_t lanes = w.few.lanes;
  Ints sums[kKeyRows][kVecs];
  sum_pairs<kKeyRows, kVecs, false>((s.width + 1) / 2, w.keys + j * w.k_pairs + s.pair, w.k_pairs,
                                    w.queries + s.pair * lanes + column, lanes, sums);
  for (int i = 0; i < kKeyRows; i++) {
    const Vec scale = splat(scales[(j + i) * stride]);
    for (int n = 0; n < kVecs; n++) {
      float* to = w.few.scores + (j + i) * lanes + column + n * kWidth;
      const Vec step = load(w.q_scales + at * lanes + column + n * kWidth) * scale;
      store(to, fma(to_floats(sums[i][n]), step, at == 0 ? splat(0.0f) : load(to)));
    }
  }
}

/// All scores of a block; prefetches on the way.
template <int kVecs>
inline void score_int8_columns(const Int8Rows& w, const HeadRows& head, int64_t key, int64_t count,
                               int64_t column, const Along& next) {
  constexpr int kTile = kVecs == 1 ? 8 : kWidth == 16 ? 8 : 4;
  const RowsView rows = head.a.narrow_k.from_row(head.key_row(key));
  int64_t j = 0;
  const auto tile = [&](auto run) {
    int64_t at = 0;
    w.k.each([&](const Segment& s) { run(s, at++, rows.f32_scales() + s.group); });
  };
  for (; j + kTile <= count; j += kTile) {
    next.rows(j, j + kTile);
    tile([&](const Segment& s, int64_t at, const float* scales) {
      score_int8<kTile, kVecs>(w, s, at, j, column, scales, rows.scale_stride);
    });
  }
  for (; j < count; j++) {
    tile([&](const Segment& s, int64_t at, const float* scales) {
      score_int8<1, kVecs>(w, s, at, j, column, scales, rows.scale_stride);
    });
  }
}

/// NaN if one of the numbers is not finite, else zero.
inline float not_finite(const float* numbers, int64_t stride, int64_t count) {
  uint32_t bad = 0;
  for (int64_t j = 0; j < count; j++) {
    uint32_t bits;
    std::memcpy(&bits, numbers + j * stride, sizeof bits);
    bad |= (bits & 0x7f800000) == 0x7f800000;
  }
  return bad != 0 ? __builtin_nanf("") : 0.0f;
}

/// Probabilities times the values' scales of a group as pairs of keys, for kWidth rows. `check`:
/// NaN where a scale is (where a probability is, so is the sum that the row is divided by).
inline void weigh(const Int8Rows& w, const float* scales, int64_t stride, int64_t count,
                  float check, int64_t column) {
  const int64_t lanes = w.few.lanes;
  const float* p = w.few.scores + column;
  const Vec zero = splat(0.0f);
  Vec largest = zero;
  for (int64_t j = 0; j < count; j++) {
    largest = max(largest, load(p + j * lanes) * splat(scales[j * stride]));
  }
  const Step to(largest, splat(check));
  store(w.w_scales + column, to.step);
  for (int64_t j = 0; j < count; j += 2) {
    const Vec first = load(p + j * lanes) * splat(scales[j * stride]);
    const Vec second =
        j + 1 < count ? load(p + (j + 1) * lanes) * splat(scales[(j + 1) * stride]) : zero;
    store_ints(w.weights + j / 2 * lanes + column,
               pairs_of(first * to.inverse, second * to.inverse));
  }
}

/// out = out * factor + a group's sum, kRows rows of kVecs vectors, of the last `last` lanes.
template <int kRows, int kVecs>
__attribute__((noinline)) void value_int8(const Int8Rows& w, int64_t row, int64_t channel,
                                          int64_t last, int64_t depth, float* out, int64_t ld) {
  Ints sums[kRows][kVecs];
  sum_pairs<kRows, kVecs, true>(depth, w.weights + row, w.few.lanes, w.values + channel, w.v_pad,
                                sums);
  for (int i = 0; i < kRows; i++) {
    const Vec factor = splat(w.few.factor[row + i]), step = splat(w.w_scales[row + i]);
    for (int n = 0; n < kVecs; n++) {
      float* to = out + (row + i) * ld + channel + n * kWidth;
      const int64_t lanes_here = n + 1 < kVecs ? kWidth : last;
      store_n(to, fma(to_floats(sums[i][n]), step, load_n(to, lanes_here) * factor), lanes_here);
    }
  }
}

/// The channels of a group, kRows rows from `row` on.
template <int kRows>
inline void value_int8_rows(const Int8Rows& w, int64_t row, const Segment& s, int64_t depth,
                            float* out, int64_t ld) {
  constexpr int kWide = kRows == 1 ? 64 / kWidth : 2;
  int64_t c = 0;
  for (; c + kWide * kWidth <= s.width; c += kWide * kWidth) {
    value_int8<kRows, kWide>(w, row, s.begin + c, kWidth, depth, out, ld);
  }
  for (; c < s.width; c += kWidth) {
    value_int8<kRows, 1>(w, row, s.begin + c, smaller(kWidth, s.width - c), depth, out, ld);
  }
}

/// Adds a block's values to the outputs.
inline void add_int8_values(const Int8Rows& w, const HeadRows& head, int64_t key, int64_t count,
                            float* out, int64_t ld) {
  const RowsView rows = head.a.narrow_v.from_row(head.key_row(key));
  const int64_t depth = (count + 1) / 2;
  constexpr int kTile = kWidth == 16 ? 8 : 4;
  w.v.each([&](const Segment& s) {
    const float* scales = rows.f32_scales() + s.group;
    const float check = not_finite(scales, rows.scale_stride, count);
    for (int64_t c = 0; c < w.few.lanes; c += kWidth) {
      weigh(w, scales, rows.scale_stride, count, check, c);
    }
    int64_t r = 0;
    for (; r + kTile <= w.few.rows; r += kTile) value_int8_rows<kTile>(w, r, s, depth, out, ld);
    for (; r < w.few.rows; r++) value_int8_rows<1>(w, r, s, depth, out, ld);
  });
}

/// Unnormalised outputs [rows, ld], sums [rows, kWidth] and largest scores [rows] of rows
/// row_begin..row_end (at most kFewRows) over keys key_begin..key_end.
inline void attend_int8(const HeadRows& head, int64_t row_begin, int64_t row_end, int64_t key_begin,
                        int64_t key_end, int64_t ld, float* out, float* sums, float* largest) {
  static thread_local Scratch scratch;
  const int64_t rows = row_end - row_begin, end = smaller(key_end, head.visible(row_end - 1));
  const Int8Rows w(rows, head, scratch);
  w.few.begin(head, row_begin);
  int64_t at = 0;
  w.k.each([&](const Segment& s) {
    for (int64_t c = 0; c < w.few.lanes; c += kWidth) round_queries(w, s, at, c);
    at++;
  });
  std::memset(out, 0, sizeof(float) * rows * ld);
  for (int64_t key = key_begin; key < end; key += kKeys) {
    if (!head.any_sees(row_begin, row_end, key, key + kKeys)) continue;
    const int64_t count = smaller(kKeys, end - key);
    widen_keys(w, head, key, count);
    Along next = along_k(head, key + count, end), values = along_v(head, key + count, end);
    for (int64_t column = 0; column < w.few.lanes;) {
      const bool two = column + 2 * kWidth <= w.few.lanes;
      (two ? score_int8_columns<2> : score_int8_columns<1>)(w, head, key, count, column, next);
      next = {};
      column += two ? 2 * kWidth : kWidth;
    }
    hide_keys(head, w.few, row_begin, key, count);
    for (int64_t c = 0; c < w.few.lanes; c += kWidth) softmax_column(w.few, c, count);
    pair_values(w, head, key, count);
    values.rows(0, kKeys);
    add_int8_values(w, head, key, count, out, ld);
  }
  w.few.end(sums, largest);
}

}  // namespace attention_int8
}  // namespace um::UM_ISA
