// What the attention kernels share: blocks of keys at fixed positions, a register-tiled product of
// small matrices, and packing.
//
// Bits: an element of a product is one chain of fused multiply-adds over the depth, whatever tile
// it falls in, and contraction is spelled out everywhere (a product is never followed by a plain
// addition the compiler might fuse in one instance and not in another).
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/args.h"
#include "kernels/cpu/isa/gemm_transpose.h"
#include "kernels/cpu/isa/int8_rows.h"
#include "kernels/cpu/isa/rows.h"
#include "kernels/cpu/isa/simd.h"

namespace um::UM_ISA {
/// A namespace of its own: its inline functions must not meet other files' of the same name.
inline namespace attention_tile {

constexpr int64_t kKeys = 64;  ///< keys of a block; blocks start at multiples of it
static_assert(kKeys == 64, "a word of a mask is a block");
constexpr int64_t kStrip = 8;      ///< rows taken together; register tiles have at most as many
constexpr float kLowest = -3e38f;  ///< "no score yet": finite, so that differences stay defined

constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

/// 2^x for x <= 0 to 0.7 ulp, exactly 1 at 0; 0 far below; NaN stays. A polynomial of degree 6 with
/// the least relative error on [-1/2, 1/2]. Scores are kept in base 2: it saves the conversion.
inline Vec exp2_down(Vec x) {
  const Vec clamped = max(splat(-152.0f), x);  // max returns its second operand for NaN
  const Vec n = round(clamped), f = clamped - n;
  Vec p = fma(splat(1.5594677579e-4f), f, splat(1.3406643906e-3f));
  p = fma(p, f, splat(9.6176929748e-3f));
  p = fma(p, f, splat(5.5503105510e-2f));
  p = fma(p, f, splat(2.4022652783e-1f));
  p = fma(p, f, splat(6.9314721497e-1f));
  p = fma(p, f, splat(1.0f));
  return scale_by_power(p, n);
}

inline int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}
inline int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

/// Cuts one scratch buffer into cache-line aligned arrays.
class Carver {
 public:
  explicit Carver(float* memory) : next_(memory) {}
  float* take(int64_t count) {
    float* piece = next_;
    next_ += round_up(count, 16);
    return piece;
  }

 private:
  float* next_;
};

/// What a product's result starts from: nothing, what is there, or what is there times a factor
/// per row.
enum class Start { zero, add, scale };

/// C[kRows, kVecs*kWidth] from A·B. A is read one element at a time, as a[r*lda + k], or
/// a[k*lda + r] when kTransA; B rows are contiguous.
template <int kRows, int kVecs, bool kTransA, Start kStart>
inline void product_tile(int64_t depth, const float* a, int64_t lda, const float* b, int64_t ldb,
                         float* c, int64_t ldc, const float* factor) {
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; r++) {
    for (int n = 0; n < kVecs; n++) {
      if constexpr (kStart == Start::zero) sum[r][n] = splat(0.0f);
      if constexpr (kStart == Start::add) sum[r][n] = load(c + r * ldc + n * kWidth);
      if constexpr (kStart == Start::scale) {
        sum[r][n] = load(c + r * ldc + n * kWidth) * splat(factor[r]);
      }
    }
  }
  for (int64_t k = 0; k < depth; k++) {
    Vec right[kVecs];
    for (int n = 0; n < kVecs; n++) right[n] = load(b + k * ldb + n * kWidth);
    for (int r = 0; r < kRows; r++) {
      const Vec left = splat(kTransA ? a[k * lda + r] : a[r * lda + k]);
      for (int n = 0; n < kVecs; n++) sum[r][n] = fma(left, right[n], sum[r][n]);
    }
  }
  for (int r = 0; r < kRows; r++) {
    for (int n = 0; n < kVecs; n++) store(c + r * ldc + n * kWidth, sum[r][n]);
  }
}

/// The columns of a strip: kRows rows of C, `cols` (a multiple of kWidth) columns.
template <int kRows, bool kTransA, Start kStart>
inline void product_rows(int64_t cols, int64_t depth, const float* a, int64_t lda, const float* b,
                         int64_t ldb, float* c, int64_t ldc, const float* factor) {
  int64_t n = 0;
  // Few rows take more columns: below eight sums at once, each waits for the one before.
  constexpr int kWide = kRows == 1 ? 8 : kRows == 4 && kWidth == 16 ? 4 : 2;
  if constexpr (kWide > 2) {
    for (; n + kWide * kWidth <= cols; n += kWide * kWidth) {
      product_tile<kRows, kWide, kTransA, kStart>(depth, a, lda, b + n, ldb, c + n, ldc, factor);
    }
  }
  for (; n + 2 * kWidth <= cols; n += 2 * kWidth) {
    product_tile<kRows, 2, kTransA, kStart>(depth, a, lda, b + n, ldb, c + n, ldc, factor);
  }
  if (n < cols) {
    product_tile<kRows, 1, kTransA, kStart>(depth, a, lda, b + n, ldb, c + n, ldc, factor);
  }
}

/// C[rows, cols] from A·B for any number of rows, in register tiles.
template <bool kTransA, Start kStart>
inline void product(int64_t rows, int64_t cols, int64_t depth, const float* a, int64_t lda,
                    const float* b, int64_t ldb, float* c, int64_t ldc,
                    const float* factor = nullptr) {
  const int64_t step = kTransA ? 1 : lda;
  int64_t r = 0;
  // Eight rows of two vectors fill half of 32 registers; avx2 has 16 and takes four rows.
  for (; kWidth == 16 && r + 8 <= rows; r += 8) {
    product_rows<8, kTransA, kStart>(cols, depth, a + r * step, lda, b, ldb, c + r * ldc, ldc,
                                     kStart == Start::scale ? factor + r : nullptr);
  }
  for (; r + 4 <= rows; r += 4) {
    product_rows<4, kTransA, kStart>(cols, depth, a + r * step, lda, b, ldb, c + r * ldc, ldc,
                                     kStart == Start::scale ? factor + r : nullptr);
  }
  for (; r < rows; r++) {
    product_rows<1, kTransA, kStart>(cols, depth, a + r * step, lda, b, ldb, c + r * ldc, ldc,
                                     kStart == Start::scale ? factor + r : nullptr);
  }
}

/// Asks the second-level cache for a row soon to be read: rows of one head are short and far apart,
/// which the hardware does not foresee.
inline void prefetch_row(const float* row, int64_t width) {
  for (int64_t c = 0; c < width; c += 16) {
    _mm_prefetch(reinterpret_cast<const char*>(row + c), _MM_HINT_T1);
  }
}

/// to[0..width) = from * factor, zeros up to the next multiple of kWidth.
inline void copy_scaled(const float* from, int64_t width, float factor, float* to) {
  int64_t c = 0;
  for (; c + kWidth <= width; c += kWidth) store(to + c, load(from + c) * splat(factor));
  if (c < width) store(to + c, load_part(from + c, width - c) * splat(factor));
}

/// to = from * factor + (add ? to : 0).
inline void write_row(const float* from, int64_t width, float factor, bool add, float* to) {
  const Vec f = splat(factor), zero = splat(0.0f);
  int64_t c = 0;
  for (; c + kWidth <= width; c += kWidth) {
    store(to + c, fma(load(from + c), f, add ? load(to + c) : zero));
  }
  if (c < width) {
    const Vec before = add ? load_part(to + c, width - c) : zero;
    store_part(to + c, fma(load_part(from + c, width - c), f, before), width - c);
  }
}

/// The first n lanes of a (n may be anything), `other` in the rest.
inline Vec first_lanes(Vec a, int64_t n, Vec other) {
#ifdef UM_ISA_avx512
  return {_mm512_mask_blend_ps(lanes(smaller(larger(n, 0), kWidth)), other.v, a.v)};
#else
  return {
      _mm256_blendv_ps(other.v, a.v, _mm256_castsi256_ps(lanes(smaller(larger(n, 0), kWidth))))};
#endif
}

/// The lanes of a whose bit is set, -infinity in the rest.
inline Vec lanes_seen(Vec a, uint64_t bits) {
#ifdef UM_ISA_avx512
  return {_mm512_mask_mov_ps(splat(-__builtin_inff()).v, static_cast<__mmask16>(bits), a.v)};
#else
  const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), each);
  return {_mm256_blendv_ps(splat(-__builtin_inff()).v, a.v,
                           _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, each)))};
#endif
}

/// Scores of a block of keys, `cols` of them, to -infinity where the key's bit is not set.
inline void hide_unseen(float* scores, uint64_t bits, int64_t cols) {
  for (int64_t j = 0; j < cols; j += kWidth)
    store(scores + j, lanes_seen(load(scores + j), bits >> j));
}

/// Rows that will be read next: `count` of them.
struct Coming {
  const float* rows = nullptr;
  int64_t count = 0;
};

/// to[c][j] = from[j][c] for `keys` rows of `width` channels; `to` has rows of `ld_to` columns,
/// those up to the next multiple of kWidth are zeroed. On the way, prefetches `coming`.
inline void pack_transposed(const float* from, int64_t ld, int64_t keys, int64_t width,
                            Coming coming, float* to, int64_t ld_to) {
  for (int64_t j = 0; j < keys; j += kWidth) {
    const int64_t rows = smaller(keys - j, kWidth), ahead = smaller(coming.count - j, kWidth);
    for (int64_t c = 0; c < width; c += kWidth) {
      const int64_t cols = smaller(width - c, kWidth);
      const float* corner = from + j * ld + c;
      Vec block[kWidth];
      if (rows == kWidth && cols == kWidth) {
        for (int64_t i = 0; i < kWidth; i++) block[i] = load(corner + i * ld);
      } else {
        for (int64_t i = 0; i < kWidth; i++) {
          block[i] = i < rows ? load_part(corner + i * ld, cols) : splat(0.0f);
        }
      }
      for (int64_t i = 0; i < ahead; i++) prefetch_row(coming.rows + (j + i) * ld + c, 1);
      transpose(block);
      for (int64_t i = 0; i < cols; i++) store(to + (c + i) * ld_to + j, block[i]);
    }
  }
}

/// Copies `rows` rows of `width` channels into rows of `ld_to` elements, padded by copy_scaled;
/// prefetches like pack_transposed.
inline void pack_rows(const float* from, int64_t ld, int64_t rows, int64_t width, Coming coming,
                      float* to, int64_t ld_to) {
  for (int64_t r = 0; r < rows; r++) {
    if (r < coming.count) prefetch_row(coming.rows + r * ld, width);
    copy_scaled(from + r * ld, width, 1.0f, to + r * ld_to);
  }
}

/// A block of keys and values as f32 rows: where they lie, or widened.
struct KeyRows {
  const float* k;
  int64_t ldk;
  const float* v;
  int64_t ldv;
};

/// One sequence's rows for one key/value head. Rows are (query, query head of the group), query
/// first: row r is query r/group under head kv_head*group + r%group.
struct HeadRows {
  const Attention& a;
  int64_t kv_head, group, q_begin, kv_begin, kv_len, past, rows;
  const int32_t* pages;

  HeadRows(const Attention& args, int64_t sequence, int64_t kv_head_index)
      : a(args), kv_head(kv_head_index), group(args.heads / args.kv_heads) {
    q_begin = a.q_offsets[sequence] - a.first_row;
    const int64_t q_len = a.q_offsets[sequence + 1] - a.q_offsets[sequence];
    kv_begin = a.kv_offsets[sequence];
    kv_len = a.kv_offsets[sequence + 1] - kv_begin;
    past = kv_len - q_len;
    rows = q_len * group;
    pages = a.pages == nullptr ? nullptr : a.pages + sequence * a.ld_pages;
  }
  int64_t width() const { return a.qk_dim + a.rope_dim; }
  /// (32 bits: a 64-bit division would cost as much as a tenth of a row's work.)
  int64_t query(int64_t r) const {
    return group == 1 ? r : static_cast<uint32_t>(r) / static_cast<uint32_t>(group);
  }
  int64_t head(int64_t r) const { return kv_head * group + r - query(r) * group; }
  /// Keys which row r may see: its own position and all before.
  int64_t visible(int64_t r) const { return past + query(r) + 1; }
  /// Which keys of the block from `key` on (a multiple of kKeys) the mask lets row r see.
  uint64_t mask_of(int64_t r, int64_t key) const {
    if (a.mask == nullptr) return ~uint64_t{0};
    return static_cast<uint64_t>(a.mask[(q_begin + query(r)) * a.ld_mask + key / kKeys]);
  }
  /// Whether the mask lets any of the rows see a key of the blocks from `key` up to `end`.
  bool any_sees(int64_t row_begin, int64_t row_end, int64_t key, int64_t end) const {
    if (a.mask == nullptr) return true;
    const int64_t words = smaller((smaller(end, kv_len) + kKeys - 1) / kKeys, a.ld_mask);
    uint64_t any = 0;
    for (int64_t i = query(row_begin); i <= query(row_end - 1); i++) {
      const int64_t* row = a.mask + (q_begin + i) * a.ld_mask;
      for (int64_t w = key / kKeys; w < words; w++) any |= static_cast<uint64_t>(row[w]);
    }
    return any != 0;
  }
  int64_t q_at(int64_t r) const { return (q_begin + query(r)) * a.ldq + head(r) * width(); }
  int64_t out_at(int64_t r) const { return (q_begin + query(r)) * a.ld_out + head(r) * a.v_dim; }
  int64_t lse_at(int64_t r) const {
    return head(r) * (a.q_offsets[a.sequences] - a.first_row) + q_begin + query(r);
  }
  /// Where a key lies. Blocks of kKeys lie together: pages hold a multiple of that.
  int64_t key_row(int64_t key) const {
    if (pages == nullptr) return kv_begin + key;
    return pages[key / a.page_rows] * a.page_rows + key % a.page_rows;
  }
  int64_t k_at(int64_t key) const { return key_row(key) * a.ldk + kv_head * a.k_head_stride; }
  int64_t rope_at(int64_t key) const { return key_row(key) * a.ld_k_rope; }
  int64_t v_at(int64_t key) const { return key_row(key) * a.ldv + kv_head * a.v_head_stride; }

  /// The block of keys (their parts in k, k_rope or v) from `key` on, of those below `end`.
  Coming coming_k(int64_t key, int64_t end) const {
    return key < end && !a.is_narrow() ? Coming{a.k + k_at(key), smaller(end - key, kKeys)}
                                       : Coming{};
  }
  Coming coming_rope(int64_t key, int64_t end) const {
    return key < end ? Coming{a.k_rope + rope_at(key), smaller(end - key, kKeys)} : Coming{};
  }
  Coming coming_v(int64_t key, int64_t end) const {
    return key < end && !a.is_narrow() ? Coming{a.v + v_at(key), smaller(end - key, kKeys)}
                                       : Coming{};
  }

  /// Floats of the buffer that key_rows() wants.
  static int64_t widened_floats(const Attention& a) {
    if (!a.is_narrow()) return 0;
    return kKeys * (round_up(a.qk_dim, 16) + (a.values_in_keys() ? 0 : round_up(a.v_dim, 16)));
  }
  /// Keys and values key..key+count; narrow ones are widened into `widened`.
  KeyRows key_rows(int64_t key, int64_t count, float* widened) const {
    if (!a.is_narrow()) return {a.k + k_at(key), a.ldk, a.v + v_at(key), a.ldv};
    const int64_t ldk = round_up(a.qk_dim, 16), ldv = round_up(a.v_dim, 16);
    widen(a.narrow_k, key, count, kv_head * a.k_head_stride, a.qk_dim, widened, ldk);
    if (a.values_in_keys()) return {widened, ldk, widened, ldk};
    float* values = widened + kKeys * ldk;
    widen(a.narrow_v, key, count, kv_head * a.v_head_stride, a.v_dim, values, ldv);
    return {widened, ldk, values, ldv};
  }
  void widen(const RowsView& from, int64_t key, int64_t count, int64_t begin, int64_t width,
             float* to, int64_t ld) const {
    for (int64_t j = 0; j < count; j++) {
      widen_row(from.from_row(key_row(key) + j), begin, width, to + j * ld);
    }
  }

  /// [width, kKeys] keys key..key+count, transposed; those up to `end` will be read after them.
  void pack_keys_transposed(const KeyRows& rows, int64_t key, int64_t count, int64_t end,
                            float* to) const {
    pack_transposed(rows.k, rows.ldk, count, a.qk_dim, coming_k(key + count, end), to, kKeys);
    if (a.rope_dim > 0) {
      pack_transposed(a.k_rope + rope_at(key), a.ld_k_rope, count, a.rope_dim,
                      coming_rope(key + count, end), to + a.qk_dim * kKeys, kKeys);
    }
  }
};

/// Brings the rows row_begin..row_end and the first keys of a task to come into the second-level
/// cache, a few at a time between the products of the current one (more at once would stall).
/// Reading short rows far apart would otherwise cost a third as much as computing with them.
class Ahead {
 public:
  /// `dout` and `dq` are read and written by the gradient only.
  Ahead(const HeadRows& head, int64_t row_begin, int64_t row_end, const float* dout = nullptr,
        const float* dq = nullptr)
      : head_(head),
        row_(row_begin),
        rows_(smaller(row_end - row_begin, kMost)),
        dout_(dout),
        dq_(dq) {
    const bool keys = rows_ > 0 && !head.a.is_narrow();
    keys_ = keys ? smaller(head.visible(row_end - 1), kMost) : 0;
  }

  void step() {
    const Attention& a = head_.a;
    for (const int64_t end = done_ + 3; done_ < end; done_++) {
      if (done_ < rows_) {
        const int64_t q_at = head_.q_at(row_ + done_), out_at = head_.out_at(row_ + done_);
        prefetch_row(a.q + q_at, head_.width());
        prefetch_row(a.out + out_at, a.v_dim);
        if (dout_ != nullptr) prefetch_row(dout_ + out_at, a.v_dim);
        if (dq_ != nullptr) prefetch_row(dq_ + q_at, head_.width());
      }
      if (done_ < keys_) {
        prefetch_row(a.k + head_.k_at(done_), a.qk_dim);
        prefetch_row(a.v + head_.v_at(done_), a.v_dim);
      }
    }
  }

 private:
  static constexpr int64_t kMost = 256;
  const HeadRows head_;
  const int64_t row_, rows_;
  const float *dout_, *dq_;
  int64_t keys_, done_ = 0;
};

}  // namespace attention_tile
}  // namespace um::UM_ISA
