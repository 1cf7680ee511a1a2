// The matrix product for few rows (decode): bound by reading B, so B is streamed once from where it
// lies. Lanes are columns of C; a B stored [n,k] is transposed in registers, block by block.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/gemm_transpose.h"

namespace um::UM_ISA {
namespace {

/// How far along its row, in bytes, a B stored [n,k] is asked for before its use. The rows read
/// side by side are more streams than the processor's own prefetcher follows.
constexpr int64_t kAhead = 1024;
/// Rows of a B stored [k,n] read side by side: few enough streams for the processor to follow, and
/// enough work for loading and storing C in between.
constexpr int64_t kRowsOfB = 16;

Vec initial(const Gemm& g, int64_t row, int64_t column, int64_t lanes) {
  const Vec c = g.accumulate ? load_part(g.c + row * g.ldc + column, lanes) : splat(0);
  return g.bias != nullptr ? c + load_part(g.bias + column, lanes) : c;
}

/// The next `count` elements of kWidth rows of B into the sums of their kWidth columns.
template <class T, int kRows>
inline __attribute__((always_inline)) void add_step(const float* const (&a)[kRows], int64_t k,
                                                    int64_t count, const Vec (&t)[kWidth],
                                                    Vec (&sum)[kRows]) {
  UM_UNROLL
  for (int i = 0; i < count; ++i) {
    const Vec x = element<T>(t, i);
    UM_UNROLL
    for (int m = 0; m < kRows; ++m) sum[m] = fma(splat(a[m][k + i]), x, sum[m]);
  }
}

/// kWidth columns (or the last few) of C = A·Bᵀ.
template <class T, int kRows>
void columns_nt(const Gemm& g, const T* weights, int64_t ldb, int64_t column, int64_t lanes) {
  constexpr int kStep = kPerRow<T>;
  constexpr int64_t kAheadElements = kAhead / static_cast<int64_t>(sizeof(T));
  const float* a[kRows];
  const T* b[kWidth];
  Vec sum[kRows];
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) {
    a[m] = stored_row(g.a, g.lda, g.gather_a, m);
    sum[m] = initial(g, m, column, lanes);
  }
  for (int64_t r = 0; r < kWidth; ++r) b[r] = weights + (column + least(r, lanes - 1)) * ldb;
  Vec t[kWidth];
  int64_t k = 0;
  for (; k + kStep <= g.k; k += kStep) {
    // Past the end of these rows come the rows of the next columns.
    const int64_t next = k + kAheadElements;
    const int64_t ahead = next < g.k ? next : next - g.k + kWidth * ldb;
    UM_UNROLL
    for (int r = 0; r < kWidth; ++r) {
      t[r] = load_bits(b[r] + k);
      _mm_prefetch(reinterpret_cast<const char*>(b[r] + ahead), _MM_HINT_T1);
    }
    transpose(t);
    add_step<T>(a, k, kStep, t, sum);
  }
  if (k < g.k) {
    for (int r = 0; r < kWidth; ++r) t[r] = load_bits_part(b[r] + k, g.k - k);
    transpose(t);
    add_step<T>(a, k, g.k - k, t, sum);
  }
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) store_part(g.c + m * g.ldc + column, sum[m], lanes);
}

/// kStrip vectors of columns (or the last few) of C = A·B, for k in [first, last): begins C when
/// first is 0, else goes on from what is in C.
template <class T, int kRows, int kStrip>
void columns_nn(const Gemm& g, const T* weights, int64_t ldb, int64_t column, int64_t columns,
                int64_t first, int64_t last) {
  int64_t lanes[kStrip];
  Vec sum[kRows][kStrip];
  const float* a[kRows];
  UM_UNROLL
  for (int s = 0; s < kStrip; ++s) {
    const int64_t left = columns - s * kWidth;
    lanes[s] = left < 0 ? 0 : least(left, kWidth);
  }
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) {
    a[m] = stored_row(g.a, g.lda, g.gather_a, m);
    UM_UNROLL
    for (int s = 0; s < kStrip; ++s) {
      const int64_t j = column + s * kWidth;
      sum[m][s] =
          first == 0 ? initial(g, m, j, lanes[s]) : load_part(g.c + m * g.ldc + j, lanes[s]);
    }
  }
  for (int64_t k = first; k < last; ++k) {
    const T* b = stored_row(weights, ldb, g.gather_b, k) + column;
    if (g.gather_b == nullptr) {  // the same columns of the next rows, which come after this pass
      constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
      UM_UNROLL
      for (int64_t i = 0; i < kStrip * kWidth; i += kLine)
        _mm_prefetch(reinterpret_cast<const char*>(b + kRowsOfB * ldb + i), _MM_HINT_T0);
    }
    Vec row[kStrip];
    UM_UNROLL
    for (int s = 0; s < kStrip; ++s) {
      row[s] =
          columns == kStrip * kWidth ? load(b + s * kWidth) : load_part(b + s * kWidth, lanes[s]);
    }
    UM_UNROLL
    for (int m = 0; m < kRows; ++m) {
      const Vec x = splat(a[m][k]);
      UM_UNROLL
      for (int s = 0; s < kStrip; ++s) sum[m][s] = fma(x, row[s], sum[m][s]);
    }
  }
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) {
    UM_UNROLL
    for (int s = 0; s < kStrip; ++s) {
      store_part(g.c + m * g.ldc + column + s * kWidth, sum[m][s], lanes[s]);
    }
  }
}

template <class T, int kRows>
void skinny_of(const Gemm& g, const T* weights, int64_t ldb, int64_t column, int64_t columns) {
  if (g.trans_b) {
    for (int64_t j = 0; j < columns; j += kWidth) {
      columns_nt<T, kRows>(g, weights, ldb, column + j, least(columns - j, kWidth));
    }
    return;
  }
  // Vectors of columns per pass: as many as leave registers for a row of B.
  constexpr int kBudget = 2 * kMr / kRows;
  constexpr int kStrip = kBudget >= 8 ? 8 : kBudget >= 4 ? 4 : 2;
  int64_t first = 0;
  do {
    const int64_t last = least(first + kRowsOfB, g.k);
    for (int64_t j = 0; j < columns; j += kStrip * kWidth) {
      columns_nn<T, kRows, kStrip>(g, weights, ldb, column + j, least(columns - j, kStrip * kWidth),
                                   first, last);
    }
    first = last;
  } while (first < g.k);
}

template <int kRows>
void skinny(const Gemm& g, int64_t column, int64_t columns) {
  with_values(g.b, [&]<class T>(const T* values, int64_t ld) {
    skinny_of<T, kRows>(g, values, ld, column, columns);
  });
}

using Skinny = void (*)(const Gemm&, int64_t, int64_t);
#ifdef UM_ISA_avx512
constexpr Skinny kSkinny[kSkinnyRows] = {skinny<1>, skinny<2>, skinny<3>, skinny<4>,
                                         skinny<5>, skinny<6>, skinny<7>, skinny<8>};
#else
constexpr Skinny kSkinny[kSkinnyRows] = {skinny<1>, skinny<2>, skinny<3>, skinny<4>};
#endif

}  // namespace

void gemm_skinny(const Gemm& g, int64_t column, int64_t columns) {
  kSkinny[g.m - 1](g, column, columns);
}

}  // namespace um::UM_ISA
