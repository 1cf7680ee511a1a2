// The matrix product for few rows (decode): bound by reading B, so B is streamed once from where it
// lies. Lanes are columns of C; a B stored [n,k] is transposed in registers, block by block.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/gemm_transpose.h"

namespace um::UM_ISA {
namespace {

Vec initial(const Gemm& g, int64_t row, int64_t column, int64_t lanes) {
  const Vec c = g.accumulate ? load_part(g.c + row * g.ldc + column, lanes) : splat(0);
  return g.bias != nullptr ? c + load_part(g.bias + column, lanes) : c;
}

/// kWidth columns (or the last few) of C = A·Bᵀ.
template <int kRows>
void columns_nt(const Gemm& g, int64_t column, int64_t lanes) {
  const float* a[kRows];
  Vec sum[kRows];
#pragma GCC unroll 14
  for (int m = 0; m < kRows; ++m) {
    a[m] = stored_row(g.a, g.lda, g.gather_a, m);
    sum[m] = initial(g, m, column, lanes);
  }
  const float* rows[kWidth];
  for (int64_t r = 0; r < kWidth; ++r) {
    rows[r] = g.b + (column + (r < lanes ? r : lanes - 1)) * g.ldb;
  }
  Vec t[kWidth];
  int64_t k = 0;
  for (; k + kWidth <= g.k; k += kWidth) {
#pragma GCC unroll 16
    for (int r = 0; r < kWidth; ++r) t[r] = load(rows[r] + k);
    transpose(t);
#pragma GCC unroll 14
    for (int m = 0; m < kRows; ++m) {
      const float* x = a[m] + k;
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) sum[m] = fma(splat(x[i]), t[i], sum[m]);
    }
  }
  if (k < g.k) {
    for (int r = 0; r < kWidth; ++r) t[r] = load_part(rows[r] + k, g.k - k);
    transpose(t);
    for (int i = 0; i < g.k - k; ++i) {
#pragma GCC unroll 14
      for (int m = 0; m < kRows; ++m) sum[m] = fma(splat(a[m][k + i]), t[i], sum[m]);
    }
  }
#pragma GCC unroll 14
  for (int m = 0; m < kRows; ++m) store_part(g.c + m * g.ldc + column, sum[m], lanes);
}

/// kStrip vectors of columns (or the last few) of C = A·B.
template <int kRows, int kStrip>
void columns_nn(const Gemm& g, int64_t column, int64_t columns) {
  int64_t lanes[kStrip];
  Vec sum[kRows][kStrip];
  const float* a[kRows];
#pragma GCC unroll 8
  for (int s = 0; s < kStrip; ++s) {
    const int64_t left = columns - s * kWidth;
    lanes[s] = left < 0 ? 0 : left < kWidth ? left : kWidth;
  }
#pragma GCC unroll 14
  for (int m = 0; m < kRows; ++m) {
    a[m] = stored_row(g.a, g.lda, g.gather_a, m);
#pragma GCC unroll 8
    for (int s = 0; s < kStrip; ++s) sum[m][s] = initial(g, m, column + s * kWidth, lanes[s]);
  }
  const bool whole = columns == kStrip * kWidth;
  for (int64_t k = 0; k < g.k; ++k) {
    const float* b = stored_row(g.b, g.ldb, g.gather_b, k) + column;
    Vec row[kStrip];
    if (whole) {
#pragma GCC unroll 8
      for (int s = 0; s < kStrip; ++s) row[s] = load(b + s * kWidth);
    } else {
#pragma GCC unroll 8
      for (int s = 0; s < kStrip; ++s) row[s] = load_part(b + s * kWidth, lanes[s]);
    }
#pragma GCC unroll 14
    for (int m = 0; m < kRows; ++m) {
      const Vec x = splat(a[m][k]);
#pragma GCC unroll 8
      for (int s = 0; s < kStrip; ++s) sum[m][s] = fma(x, row[s], sum[m][s]);
    }
  }
#pragma GCC unroll 14
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int s = 0; s < kStrip; ++s) {
      store_part(g.c + m * g.ldc + column + s * kWidth, sum[m][s], lanes[s]);
    }
  }
}

template <int kRows>
void skinny(const Gemm& g, int64_t column, int64_t columns) {
  // Vectors of columns per pass over A: as many as leave registers for a row of B.
  constexpr int kBudget = 2 * kMr / kRows;
  constexpr int kStrip = kBudget >= 8 ? 8 : kBudget >= 4 ? 4 : 2;
  const int64_t step = g.trans_b ? kWidth : kStrip * kWidth;
  for (int64_t j = 0; j < columns; j += step) {
    const int64_t width = columns - j < step ? columns - j : step;
    if (g.trans_b) {
      columns_nt<kRows>(g, column + j, width);
    } else {
      columns_nn<kRows, kStrip>(g, column + j, width);
    }
  }
}

using Skinny = void (*)(const Gemm&, int64_t, int64_t);
#ifdef UM_ISA_avx512
constexpr Skinny kSkinny[kSkinnyRows] = {skinny<1>,  skinny<2>,  skinny<3>,  skinny<4>, skinny<5>,
                                         skinny<6>,  skinny<7>,  skinny<8>,  skinny<9>, skinny<10>,
                                         skinny<11>, skinny<12>, skinny<13>, skinny<14>};
#else
constexpr Skinny kSkinny[kSkinnyRows] = {skinny<1>, skinny<2>, skinny<3>,
                                         skinny<4>, skinny<5>, skinny<6>};
#endif

}  // namespace

void gemm_skinny(const Gemm& g, int64_t column, int64_t columns) {
  kSkinny[g.m - 1](g, column, columns);
}

}  // namespace um::UM_ISA
