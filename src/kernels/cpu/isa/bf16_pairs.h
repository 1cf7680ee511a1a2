// Pairs of bf16 in lanes of 32 bits: the operands of bf16 products. Two neighbouring k of a row or
// column lie in a lane, the first in its low half. Included only by kernels/cpu/isa/*.cc.
#pragma once

#include "kernels/cpu/isa/simd.h"

namespace um::UM_ISA {

#ifdef UM_ISA_avx512
using IntVec = __m512i;
inline IntVec to_bits(Vec a) {
  return _mm512_castps_si512(a.v);
}
inline Vec from_bits(IntVec a) {
  return {_mm512_castsi512_ps(a)};
}
/// The bits of bf16 in the high halves of lanes: to nearest, ties to even; NaN stays NaN.
inline IntVec rounded_bits(Vec a) {
  const IntVec bits = to_bits(a), one = _mm512_set1_epi32(1);
  const IntVec odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
  const IntVec up = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd);
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(_mm512_add_epi32(bits, up), nan, bits, _mm512_set1_epi32(0x400000));
}
/// Two vectors, rounded, as pairs.
inline Vec pairs_of_bf16(Vec first, Vec second) {
  const IntVec high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return from_bits(_mm512_or_si512(_mm512_srli_epi32(rounded_bits(first), 16),
                                   _mm512_and_si512(rounded_bits(second), high)));
}
#else
using IntVec = __m256i;
inline IntVec to_bits(Vec a) {
  return _mm256_castps_si256(a.v);
}
inline Vec from_bits(IntVec a) {
  return {_mm256_castsi256_ps(a)};
}
/// The bits of bf16 in the high halves of lanes: to nearest, ties to even; NaN stays NaN.
inline IntVec rounded_bits(Vec a) {
  const IntVec bits = to_bits(a), one = _mm256_set1_epi32(1);
  const IntVec odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
  const IntVec up = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd);
  const IntVec nan = to_bits({_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)});
  return _mm256_blendv_epi8(_mm256_add_epi32(bits, up),
                            _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)), nan);
}
/// Two vectors, rounded, as pairs.
inline Vec pairs_of_bf16(Vec first, Vec second) {
  const IntVec high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return from_bits(_mm256_or_si256(_mm256_srli_epi32(rounded_bits(first), 16),
                                   _mm256_and_si256(rounded_bits(second), high)));
}
#endif

// A dot adds the two products of a pair to a sum, in each lane.

/// By two fused multiply-adds, in the order of k.
struct WidenedDot {
  static inline __attribute__((always_inline)) Vec add(Vec a, Vec b, Vec sum) {
    sum = fma(first_of_pairs(a), first_of_pairs(b), sum);
    return fma(second_of_pairs(a), second_of_pairs(b), sum);
  }
};

#ifdef UM_ISA_avx512
/// By the processor's own instruction (AVX512-BF16), which takes numbers below the smallest normal
/// one for zeros. In assembler, so that the file needs no second copy for processors that have it.
struct Bf16Dot {
  static inline __attribute__((always_inline)) Vec add(Vec a, Vec b, Vec sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.v) : "v"(b.v), "v"(a.v));
    return sum;
  }
};
#endif

}  // namespace um::UM_ISA
