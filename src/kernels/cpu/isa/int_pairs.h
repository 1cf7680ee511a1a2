// Pairs of 16-bit integers in lanes of 32 bits, whose products are summed up exactly. Included only
// by kernels/cpu/isa/*.cc.
#pragma once

#include "kernels/cpu/isa/simd.h"

namespace um::UM_ISA {

/// kWidth integers of 32 bits, or as many pairs of 16.
#ifdef UM_ISA_avx512
struct Ints {
  __m512i v;
};
inline Ints no_ints() {
  return {_mm512_setzero_si512()};
}
inline Ints load_ints(const int32_t* p) {
  return {_mm512_loadu_si512(p)};
}
inline void store_ints(int32_t* p, Ints a) {
  _mm512_storeu_si512(p, a.v);
}
inline Ints splat_ints(int32_t x) {
  return {_mm512_set1_epi32(x)};
}
/// sum + the products of both members of the pairs.
inline Ints add_pairs(Ints sum, Ints a, Ints b) {
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))};
}
inline Vec to_floats(Ints a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
/// Pairs of two vectors' numbers, rounded (magnitudes of at most 32767).
inline Ints pairs_of(Vec first, Vec second) {
  const __m512i low = _mm512_and_si512(_mm512_cvtps_epi32(first.v), _mm512_set1_epi32(0xffff));
  return {_mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtps_epi32(second.v), 16))};
}
#else
struct Ints {
  __m256i v;
};
inline Ints no_ints() {
  return {_mm256_setzero_si256()};
}
inline Ints load_ints(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline void store_ints(int32_t* p, Ints a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
inline Ints splat_ints(int32_t x) {
  return {_mm256_set1_epi32(x)};
}
/// sum + the products of both members of the pairs. (The addition in assembler: gcc 12 copies every
/// sum to another register and back.)
inline Ints add_pairs(Ints sum, Ints a, Ints b) {
  const __m256i products = _mm256_madd_epi16(a.v, b.v);
  asm("vpaddd %1, %0, %0" : "+x"(sum.v) : "x"(products));
  return sum;
}
inline Vec to_floats(Ints a) {
  return {_mm256_cvtepi32_ps(a.v)};
}
/// Pairs of two vectors' numbers, rounded (magnitudes of at most 32767).
inline Ints pairs_of(Vec first, Vec second) {
  return {_mm256_blend_epi16(_mm256_cvtps_epi32(first.v),
                             _mm256_slli_epi32(_mm256_cvtps_epi32(second.v), 16), 0xaa)};
}
#endif

inline int32_t pair(int32_t first, int32_t second) {
  return static_cast<int32_t>(static_cast<uint32_t>(second) << 16 | (first & 0xffff));
}

/// Pairs of channels as 16 bits; an odd one has a zero beside it.
inline void widen_pairs(const int8_t* row, int64_t width, int32_t* to) {
  int64_t c = 0;
  for (; c + 16 <= width; c += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + c));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + c / 2), _mm256_cvtepi8_epi16(bytes));
  }
  for (; c < width; c += 2) to[c / 2] = pair(row[c], c + 1 < width ? row[c + 1] : 0);
}

}  // namespace um::UM_ISA
