// Integer dot products of int8 rows. Both operands are widened to 16 bits and multiplied in pairs,
// whose sums are exact in 32 bits (the 8-bit multiply of AVX2 saturates); so all instruction sets
// give the same integers. Included only by kernels/cpu/isa/*.cc.
#pragma once

#include "kernels/cpu/isa/gemm.h"

namespace um::UM_ISA {

/// 2 * kWidth values of 16 bits, and kWidth sums of 32.
constexpr int64_t kShorts = 2 * kWidth;

#ifdef UM_ISA_avx512

using Ints = __m512i;
inline Ints zero_ints() {
  return _mm512_setzero_si512();
}
inline Ints load_shorts(const int16_t* p) {
  return _mm512_loadu_si512(p);
}
inline Ints load_shorts(const int8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store_shorts(int16_t* p, Ints a) {
  _mm512_storeu_si512(p, a);
}
/// sums + the products of neighbouring values, added in pairs.
inline Ints add_products(Ints sums, Ints a, Ints b) {
  return _mm512_add_epi32(sums, _mm512_madd_epi16(a, b));
}
inline __m256i folded(Ints a) {
  return _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
}

#else

using Ints = __m256i;
inline Ints zero_ints() {
  return _mm256_setzero_si256();
}
inline Ints load_shorts(const int16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline Ints load_shorts(const int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store_shorts(int16_t* p, Ints a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
/// sums + the products of neighbouring values, added in pairs.
inline Ints add_products(Ints sums, Ints a, Ints b) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}
inline __m256i folded(Ints a) {
  return a;
}

#endif

/// The four totals of four vectors of sums, as floats.
inline __m128 totals(const Ints (&a)[4]) {
  const __m256i low = _mm256_hadd_epi32(folded(a[0]), folded(a[1]));
  const __m256i high = _mm256_hadd_epi32(folded(a[2]), folded(a[3]));
  const __m256i four = _mm256_hadd_epi32(low, high);
  return _mm_cvtepi32_ps(
      _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1)));
}

/// to[0 … padded) = from[0 … count), widened, then zeros; padded is a multiple of kShorts.
inline void widen_shorts(const int8_t* from, int64_t count, int64_t padded, int16_t* to) {
  int64_t i = 0;
  for (; i + kShorts <= count; i += kShorts) store_shorts(to + i, load_shorts(from + i));
  for (; i < count; ++i) to[i] = from[i];
  for (; i < padded; ++i) to[i] = 0;
}

}  // namespace um::UM_ISA
