// The register tile of the matrix product and the packing of its operands into panels.
#include "kernels/cpu/isa/bf16_pairs.h"
#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/gemm_transpose.h"

namespace um::UM_ISA {
namespace {

constexpr int64_t kAhead = 512;    // bytes along a row
constexpr int64_t kAheadRows = 8;  // a matrix read across its rows is asked for early

void prefetch_row(const float* p, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T0);
  }
}

/// rows are kWidth pointers to kc consecutive elements each: packed[k*stride + r] = rows[r][k];
/// with kPairs, of bf16, packed[k/2*stride + r] = the pair rows[r][k], rows[r][k+1].
template <class T, bool kPairs = false>
void pack_transposed(const T* const* rows, int64_t kc, float* packed, int64_t stride) {
  constexpr int kStep = kPerRow<T>;
  Vec t[kWidth];
  const auto put = [&](int64_t k, int i) __attribute__((always_inline)) {
    if constexpr (kPairs)
      store(packed + (k / 2 + i) * stride, t[i]);
    else
      store(packed + (k + i) * stride, element<T>(t, i));
  };
  int64_t k = 0;
  for (; k + kStep <= kc; k += kStep) {
    UM_UNROLL
    for (int r = 0; r < kWidth; ++r) {
      t[r] = load_bits(rows[r] + k);
      _mm_prefetch(reinterpret_cast<const char*>(rows[r] + k) + kAhead, _MM_HINT_T0);
    }
    transpose(t);
    UM_UNROLL
    for (int i = 0; i < (kPairs ? kWidth : kStep); ++i) put(k, i);
  }
  if (k == kc) return;
  for (int r = 0; r < kWidth; ++r) t[r] = load_bits_part(rows[r] + k, kc - k);
  transpose(t);
  for (int i = 0; i < (kPairs ? (kc - k + 1) / 2 : kc - k); ++i) put(k, i);
}

/// With kPairs, of a bf16 B stored [n,k], as pairs right away.
template <bool kPairs, class T>
void pack_b_of(const Gemm& g, const T* b, int64_t ldb, int64_t column, int64_t columns, int64_t k0,
               int64_t kc, float* packed) {
  if (!g.trans_b) {
    for (int64_t k = 0; k < kc; ++k) {
      const T* source = stored_row(b, ldb, g.gather_b, k0 + k) + column;
      float* to = packed + k * kNr;
      int64_t j = 0;
      for (; j + kNr <= columns; j += kNr, to += kc * kNr) {
        store(to, load(source + j));
        store(to + kWidth, load(source + j + kWidth));
      }
      if (j == columns) continue;
      const int64_t left = columns - j, low = left < kWidth ? left : kWidth;
      store(to, load_part(source + j, low));
      store(to + kWidth, load_part(source + j + kWidth, left - low));
    }
    return;
  }
  for (int64_t first = 0; first < columns; first += kWidth) {
    const T* pointers[kWidth];
    for (int64_t r = 0; r < kWidth; ++r) {
      const int64_t j = first + r < columns ? first + r : columns - 1;
      pointers[r] = b + (column + j) * ldb + k0;
    }
    float* to = packed + first / kNr * kNr * kc + first % kNr;
    if constexpr (kPairs)
      pack_transposed<T, true>(pointers, kc, to, kNr);
    else
      pack_transposed(pointers, kc, to, kNr);
  }
}

/// A step of k by itself.
struct SingleDot {
  static inline __attribute__((always_inline)) Vec add(Vec a, Vec b, Vec sum) {
    return fma(a, b, sum);
  }
};

/// `kc` steps, each of what a Dot takes: a k, or a pair.
template <class Dot, int kRows, bool kFetch>
void tile(int64_t columns, int64_t kc, const float* a, const float* b, float* c, int64_t ldc,
          bool load_c, const float* bias, const NextBlock& ahead) {
  const int64_t low = columns < kWidth ? columns : kWidth, high = columns - low;
  Vec sum[kRows][2];
  if (columns == kNr && load_c) {
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = load(c + r * ldc);
      sum[r][1] = load(c + r * ldc + kWidth);
    }
  } else if (load_c) {
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = load_part(c + r * ldc, low);
      sum[r][1] = load_part(c + r * ldc + kWidth, high);
    }
  } else {
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r][0] = sum[r][1] = splat(0);
  }
  if (bias != nullptr) {
    const Vec bias0 = load_part(bias, low), bias1 = load_part(bias + kWidth, high);
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = sum[r][0] + bias0;
      sum[r][1] = sum[r][1] + bias1;
    }
  }
  for (int64_t k = 0; k < kc; ++k) {
    const Vec b0 = load(b), b1 = load(b + kWidth);
    if constexpr (kFetch) _mm_prefetch(ahead.p + k % kNr * ahead.ld + k / kNr * 64, _MM_HINT_T1);
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vec x = splat(a[r]);
      sum[r][0] = Dot::add(x, b0, sum[r][0]);
      sum[r][1] = Dot::add(x, b1, sum[r][1]);
    }
    a += kWidth;
    b += kNr;
  }
  if (columns == kNr) {
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      store(c + r * ldc, sum[r][0]);
      store(c + r * ldc + kWidth, sum[r][1]);
    }
  } else {
    UM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      store_part(c + r * ldc, sum[r][0], low);
      store_part(c + r * ldc + kWidth, sum[r][1], high);
    }
  }
}

using Tile = void (*)(int64_t, int64_t, const float*, const float*, float*, int64_t, bool,
                      const float*, const NextBlock&);
#ifdef UM_ISA_avx512
template <class Dot, bool kFetch>
constexpr Tile kTiles[] = {tile<Dot, 1, kFetch>,  tile<Dot, 2, kFetch>,  tile<Dot, 3, kFetch>,
                           tile<Dot, 4, kFetch>,  tile<Dot, 5, kFetch>,  tile<Dot, 6, kFetch>,
                           tile<Dot, 7, kFetch>,  tile<Dot, 8, kFetch>,  tile<Dot, 9, kFetch>,
                           tile<Dot, 10, kFetch>, tile<Dot, 11, kFetch>, tile<Dot, 12, kFetch>,
                           tile<Dot, 13, kFetch>, tile<Dot, 14, kFetch>};
#else
template <class Dot, bool kFetch>
constexpr Tile kTiles[] = {tile<Dot, 1, kFetch>, tile<Dot, 2, kFetch>, tile<Dot, 3, kFetch>,
                           tile<Dot, 4, kFetch>, tile<Dot, 5, kFetch>, tile<Dot, 6, kFetch>};
#endif

template <class Dot>
const Tile* tiles_for(const NextBlock& ahead) {
  return ahead.p != nullptr ? kTiles<Dot, true> : kTiles<Dot, false>;
}

const Tile* pair_tiles(const NextBlock& ahead) {
#ifdef UM_ISA_avx512
  static const bool has_dot = __builtin_cpu_supports("avx512bf16") != 0;
  if (has_dot) return tiles_for<Bf16Dot>(ahead);
#endif
  return tiles_for<WidenedDot>(ahead);
}

/// A packed panel [kc][width] to pairs, in place.
void fold_pairs(float* panel, int64_t kc, int64_t width) {
  for (int64_t k = 0; k < kc; k += 2) {
    const float* first = panel + k * width;
    float* to = panel + k / 2 * width;
    for (int64_t i = 0; i < width; i += kWidth)
      store(to + i,
            pairs_of_bf16(load(first + i), k + 1 < kc ? load(first + width + i) : splat(0)));
  }
}

void pack_a_singly(const Gemm& g, int64_t row, int64_t rows, int64_t step, int64_t k0, int64_t kc,
                   float* packed) {
  if (g.trans_a) {
    for (int64_t k = 0; k < kc; ++k) {
      const float* source = stored_row(g.a, g.lda, g.gather_a, k0 + k) + row;
      if (k + kAheadRows < kc) {
        prefetch_row(stored_row(g.a, g.lda, g.gather_a, k0 + k + kAheadRows) + row, rows);
      }
      float* to = packed + k * kWidth;
      int64_t r = 0;
      for (; r + step <= rows; r += step, to += kc * kWidth) store(to, load_part(source + r, step));
      if (r < rows) store(to, load_part(source + r, rows - r));
    }
    return;
  }
  for (int64_t first = 0; first < rows; first += step, packed += kc * kWidth) {
    const float* pointers[kWidth];
    for (int64_t r = 0; r < kWidth; ++r) {
      const int64_t i = first + r < rows ? first + r : rows - 1;
      pointers[r] = stored_row(g.a, g.lda, g.gather_a, row + i) + k0;
    }
    pack_transposed(pointers, kc, packed, kWidth);
  }
}

}  // namespace

void pack_a(const Gemm& g, int64_t row, int64_t rows, int64_t step, int64_t k0, int64_t kc,
            float* packed) {
  pack_a_singly(g, row, rows, step, k0, kc, packed);
  if (!g.pairs) return;
  for (int64_t i = 0; i < rows; i += step, packed += kc * kWidth) fold_pairs(packed, kc, kWidth);
}

void pack_b(const Gemm& g, int64_t column, int64_t columns, int64_t k0, int64_t kc, float* packed) {
  if (g.pairs && g.trans_b && g.b.type() == RowType::bf16)
    return pack_b_of<true>(g, g.b.bf16(), g.b.ld(), column, columns, k0, kc, packed);
  with_values(g.b, [&](const auto* values, int64_t ld) {
    pack_b_of<false>(g, values, ld, column, columns, k0, kc, packed);
  });
  if (!g.pairs) return;
  for (int64_t j = 0; j < columns; j += kNr, packed += kc * kNr) fold_pairs(packed, kc, kNr);
}

void micro_tile(const Gemm& g, int64_t rows, int64_t columns, int64_t kc, const float* a,
                const float* b, float* c, bool load, const float* bias, const NextBlock& ahead) {
  const Tile* tiles = g.pairs ? pair_tiles(ahead) : tiles_for<SingleDot>(ahead);
  tiles[rows - 1](columns, tile_steps(g, kc), a, b, c, g.ldc, load, bias, ahead);
}

}  // namespace um::UM_ISA
