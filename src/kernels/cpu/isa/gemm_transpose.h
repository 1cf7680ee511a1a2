// Transposes of square register blocks, kWidth x kWidth floats or pairs of bf16.
#pragma once

#include "kernels/cpu/isa/gemm.h"

namespace um::UM_ISA {

#ifdef UM_ISA_avx512

/// t[i] lane j  ->  t[j] lane i.
inline __attribute__((always_inline)) void transpose(Vec (&t)[kWidth]) {
  __m512 u[16];
  // Pairs of rows, then fours: u[4q+s] holds in 128-bit lane L the column 4L+s of rows 4q..4q+3.
  UM_UNROLL
  for (int q = 0; q < 4; ++q) {
    const __m512d lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(t[4 * q].v, t[4 * q + 1].v));
    const __m512d hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(t[4 * q].v, t[4 * q + 1].v));
    const __m512d lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(t[4 * q + 2].v, t[4 * q + 3].v));
    const __m512d hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(t[4 * q + 2].v, t[4 * q + 3].v));
    u[4 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23));
    u[4 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23));
    u[4 * q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23));
    u[4 * q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23));
  }
  // A 4x4 transpose of 128-bit lanes for each s.
  UM_UNROLL
  for (int s = 0; s < 4; ++s) {
    const __m512 a = _mm512_shuffle_f32x4(u[s], u[4 + s], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(u[s], u[4 + s], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(u[8 + s], u[12 + s], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(u[8 + s], u[12 + s], 0xdd);
    t[s].v = _mm512_shuffle_f32x4(a, c, 0x88);
    t[4 + s].v = _mm512_shuffle_f32x4(b, d, 0x88);
    t[8 + s].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    t[12 + s].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

#else  // avx2

/// t[i] lane j  ->  t[j] lane i.
inline __attribute__((always_inline)) void transpose(Vec (&t)[kWidth]) {
  __m256 u[8];
  UM_UNROLL
  for (int q = 0; q < 2; ++q) {
    const __m256 lo01 = _mm256_unpacklo_ps(t[4 * q].v, t[4 * q + 1].v);
    const __m256 hi01 = _mm256_unpackhi_ps(t[4 * q].v, t[4 * q + 1].v);
    const __m256 lo23 = _mm256_unpacklo_ps(t[4 * q + 2].v, t[4 * q + 3].v);
    const __m256 hi23 = _mm256_unpackhi_ps(t[4 * q + 2].v, t[4 * q + 3].v);
    u[4 * q] = _mm256_shuffle_ps(lo01, lo23, 0x44);
    u[4 * q + 1] = _mm256_shuffle_ps(lo01, lo23, 0xee);
    u[4 * q + 2] = _mm256_shuffle_ps(hi01, hi23, 0x44);
    u[4 * q + 3] = _mm256_shuffle_ps(hi01, hi23, 0xee);
  }
  UM_UNROLL
  for (int s = 0; s < 4; ++s) {
    t[s].v = _mm256_permute2f128_ps(u[s], u[4 + s], 0x20);
    t[4 + s].v = _mm256_permute2f128_ps(u[s], u[4 + s], 0x31);
  }
}

#endif

// A register of a row holds kPerRow<T> elements: kWidth floats, or kWidth pairs of bf16, which are
// transposed as pairs and widened afterwards.
template <class T>
constexpr int kPerRow = kWidth* static_cast<int>(sizeof(float) / sizeof(T));

inline Vec load_bits(const float* p) {
  return load(p);
}
inline Vec load_bits(const uint16_t* p) {
  return load_pairs(p);
}
inline Vec load_bits_part(const float* p, int64_t n) {
  return load_part(p, n);
}
inline Vec load_bits_part(const uint16_t* p, int64_t n) {
  return load_pairs_part(p, n);
}

/// Element i of every row, after the transpose.
template <class T>
inline __attribute__((always_inline)) Vec element(const Vec (&t)[kWidth], int i) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return t[i];
  } else {
    return i % 2 == 0 ? first_of_pairs(t[i / 2]) : second_of_pairs(t[i / 2]);
  }
}

}  // namespace um::UM_ISA
