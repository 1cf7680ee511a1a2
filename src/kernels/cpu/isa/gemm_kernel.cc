// The register tile of the matrix product and the packing of its operands into panels.
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

/// rows are kWidth pointers to kc consecutive elements each: packed[k*stride + r] = rows[r][k].
template <class T>
void pack_transposed(const T* const* rows, int64_t kc, float* packed, int64_t stride) {
  constexpr int kStep = kPerRow<T>;
  Vec t[kWidth];
  int64_t k = 0;
  for (; k + kStep <= kc; k += kStep) {
    UM_UNROLL
    for (int r = 0; r < kWidth; ++r) {
      t[r] = load_bits(rows[r] + k);
      _mm_prefetch(reinterpret_cast<const char*>(rows[r] + k) + kAhead, _MM_HINT_T0);
    }
    transpose(t);
    UM_UNROLL
    for (int i = 0; i < kStep; ++i) store(packed + (k + i) * stride, element<T>(t, i));
  }
  if (k == kc) return;
  for (int r = 0; r < kWidth; ++r) t[r] = load_bits_part(rows[r] + k, kc - k);
  transpose(t);
  for (int i = 0; i < kc - k; ++i) store(packed + (k + i) * stride, element<T>(t, i));
}

template <class T>
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
    pack_transposed(pointers, kc, packed + first / kNr * kNr * kc + first % kNr, kNr);
  }
}

template <int kRows, bool kFetch>
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
      sum[r][0] = fma(x, b0, sum[r][0]);
      sum[r][1] = fma(x, b1, sum[r][1]);
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
template <bool kFetch>
constexpr Tile kTiles[] = {tile<1, kFetch>,  tile<2, kFetch>,  tile<3, kFetch>,  tile<4, kFetch>,
                           tile<5, kFetch>,  tile<6, kFetch>,  tile<7, kFetch>,  tile<8, kFetch>,
                           tile<9, kFetch>,  tile<10, kFetch>, tile<11, kFetch>, tile<12, kFetch>,
                           tile<13, kFetch>, tile<14, kFetch>};
#else
template <bool kFetch>
constexpr Tile kTiles[] = {tile<1, kFetch>, tile<2, kFetch>, tile<3, kFetch>,
                           tile<4, kFetch>, tile<5, kFetch>, tile<6, kFetch>};
#endif

}  // namespace

void pack_a(const Gemm& g, int64_t row, int64_t rows, int64_t step, int64_t k0, int64_t kc,
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

void pack_b(const Gemm& g, int64_t column, int64_t columns, int64_t k0, int64_t kc, float* packed) {
  with_values(g.b, [&](const auto* values, int64_t ld) {
    pack_b_of(g, values, ld, column, columns, k0, kc, packed);
  });
}

void micro_tile(int64_t rows, int64_t columns, int64_t kc, const float* a, const float* b, float* c,
                int64_t ldc, bool load, const float* bias, const NextBlock& ahead) {
  const Tile* tiles = ahead.p != nullptr ? kTiles<true> : kTiles<false>;
  tiles[rows - 1](columns, kc, a, b, c, ldc, load, bias, ahead);
}

}  // namespace um::UM_ISA
