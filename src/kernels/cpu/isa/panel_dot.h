// Sums of products of int8 activations with the codes of a panel: 16 outputs at once. All sums are
// exact: codes of 8 bits are widened to 16 and multiplied in pairs (the 8-bit multiply of AVX2
// saturates); those of at most 6 bits may use it, as 63 * 128 * 2 fits. VNNI has a multiply that
// does not saturate. Included only by kernels/cpu/isa/*.cc.
#pragma once

#include <cstring>

#include "kernels/cpu/isa/gemm.h"

namespace um::UM_ISA {

/// Sums of a panel's 16 rows.
#ifdef UM_ISA_avx512
struct Ints16 {
  __m512i v;
};
inline Ints16 join(__m256i low, __m256i high) {
  return {_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)};
}
inline Vec lanes_of(const Ints16& a, int, int32_t less) {
  return {_mm512_cvtepi32_ps(_mm512_sub_epi32(a.v, _mm512_set1_epi32(less)))};
}
inline Vec load_half(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
#else
struct Ints16 {
  __m256i v[2];
};
inline Ints16 join(__m256i low, __m256i high) {
  return {{low, high}};
}
/// The sums, less a number, of rows kWidth * part and on.
inline Vec lanes_of(const Ints16& a, int part, int32_t less) {
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(a.v[part], _mm256_set1_epi32(less)))};
}
/// kWidth f16 values.
inline Vec load_half(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
#endif

constexpr int kVecs = kPanelRows / kWidth;  // of a panel's rows

inline __m256i load_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
template <class T>
inline T load_as(const void* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// A Dot multiplies `depth` channels of kRows rows of A, `lda` apart, with a panel from its byte
// `w` on. Activation: what a row of A is made of.

/// Codes of 8 bits; depth in fours.
struct Dot8 {
  using Activation = int16_t;
  static constexpr RowType kType = RowType::panel8;
  static constexpr int kMostRows = 3;  // 12 sums, and registers for the operands

  template <int kRows>
  static inline __attribute__((always_inline)) void run(const int16_t* a, int64_t lda,
                                                        const uint8_t* w, int64_t depth,
                                                        Ints16 (&out)[kRows]) {
    __m256i sum[kRows][4];
    UM_UNROLL
    for (int i = 0; i < kRows; ++i) {
      UM_UNROLL
      for (int j = 0; j < 4; ++j) sum[i][j] = _mm256_setzero_si256();
    }
    for (int64_t k = 0; k < depth; k += 4, w += 64) {
      __m256i x[kRows];
      UM_UNROLL
      for (int i = 0; i < kRows; ++i) x[i] = _mm256_set1_epi64x(load_as<int64_t>(a + i * lda + k));
      UM_UNROLL
      for (int j = 0; j < 4; ++j) {
        const __m256i y =
            _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w) + j));
        UM_UNROLL
        for (int i = 0; i < kRows; ++i)
          sum[i][j] = _mm256_add_epi32(sum[i][j], _mm256_madd_epi16(x[i], y));
      }
    }
    UM_UNROLL
    for (int i = 0; i < kRows; ++i)
      out[i] = join(added_pairs(sum[i][0], sum[i][1]), added_pairs(sum[i][2], sum[i][3]));
  }

 private:
  /// Two sums for each of eight rows, added and put in order.
  static __m256i added_pairs(__m256i a, __m256i b) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8);
  }
};

/// The bits above the lowest four of a step's codes, in the bytes where the lowest four are: those
/// of the first four channels in the lowest kHigh bits, of the last four in the next. `bytes`:
/// those of eight rows.
template <int kHigh>
inline __m256i high_bits(const uint8_t* bytes) {
  __m256i x;
  if constexpr (kHigh == 1) {
    x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
    x = _mm256_or_si256(x, _mm256_slli_epi32(x, 12));
    x = _mm256_or_si256(x, _mm256_slli_epi32(x, 6));
  } else {
    x = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    x = _mm256_or_si256(x, _mm256_slli_epi32(x, 12));
  }
  return x;
}

/// Codes of 4 to 6 bits; depth in eights.
template <RowType kPanel>
struct DotFew {
  using Activation = int8_t;
  static constexpr RowType kType = kPanel;
  static constexpr int kMostRows = 3;
  static constexpr int kHigh = panel_high_bits(kPanel);
  static constexpr int64_t kExact = 32 >> kHigh;  // channels whose sum fits 16 bits

  /// Eight rows of a step: the codes of the first four channels and of the last four.
  static inline __attribute__((always_inline)) void codes(const uint8_t* step, int half,
                                                          __m256i& first, __m256i& second) {
    const __m256i low = _mm256_set1_epi8(15), both = load_bytes(step + 32 * half);
    first = _mm256_and_si256(both, low);
    second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    if constexpr (kHigh > 0) {
      constexpr char kMask = (1 << kHigh) - 1;
      const __m256i high = high_bits<kHigh>(step + 64 + 8 * kHigh * half);
      const __m256i in_first = _mm256_and_si256(high, _mm256_set1_epi8(kMask));
      const __m256i in_second = _mm256_and_si256(high, _mm256_set1_epi8(kMask << kHigh));
      first = _mm256_or_si256(first, _mm256_slli_epi32(in_first, 4));
      second = _mm256_or_si256(second, _mm256_slli_epi32(in_second, 4 - kHigh));
    }
  }

  template <int kRows>
  static inline __attribute__((always_inline)) void run(const int8_t* a, int64_t lda,
                                                        const uint8_t* w, int64_t depth,
                                                        Ints16 (&out)[kRows]) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[kRows][2];
    UM_UNROLL
    for (int i = 0; i < kRows; ++i) sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    for (int64_t k = 0; k < depth; k += kExact) {
      __m256i part[kRows][2];
      UM_UNROLL
      for (int i = 0; i < kRows; ++i) part[i][0] = part[i][1] = _mm256_setzero_si256();
      const int64_t end = least(depth, k + kExact);
      for (int64_t l = k; l < end; l += 8, w += panel_step_bytes(kPanel)) {
        UM_UNROLL
        for (int j = 0; j < 2; ++j) {
          __m256i first, second;
          codes(w, j, first, second);
          UM_UNROLL
          for (int i = 0; i < kRows; ++i) {
            const __m256i x = _mm256_set1_epi32(load_as<int32_t>(a + i * lda + l));
            const __m256i y = _mm256_set1_epi32(load_as<int32_t>(a + i * lda + l + 4));
            part[i][j] = _mm256_add_epi16(part[i][j], _mm256_maddubs_epi16(first, x));
            part[i][j] = _mm256_add_epi16(part[i][j], _mm256_maddubs_epi16(second, y));
          }
        }
      }
      UM_UNROLL
      for (int i = 0; i < kRows; ++i) {
        UM_UNROLL
        for (int j = 0; j < 2; ++j)
          sum[i][j] = _mm256_add_epi32(sum[i][j], _mm256_madd_epi16(part[i][j], ones));
      }
    }
    UM_UNROLL
    for (int i = 0; i < kRows; ++i) out[i] = join(sum[i][0], sum[i][1]);
  }
};

#ifdef UM_ISA_avx512

/// sums + the products of four neighbouring codes with the four activations at `a`. In assembler,
/// so that the file needs no second copy for processors with VNNI.
inline __attribute__((always_inline)) __m512i add_products(__m512i sums, __m512i codes,
                                                           const int8_t* a) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(sums)
      : "v"(codes), "m"(*reinterpret_cast<const int8_t(*)[4]>(a)));
  return sums;
}

struct VnniDot8 {
  using Activation = int8_t;
  static constexpr RowType kType = RowType::panel8;
  static constexpr int kMostRows = 12;

  template <int kRows>
  static inline __attribute__((always_inline)) void run(const int8_t* a, int64_t lda,
                                                        const uint8_t* w, int64_t depth,
                                                        Ints16 (&out)[kRows]) {
    UM_UNROLL
    for (int i = 0; i < kRows; ++i) out[i].v = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += 4, w += 64) {
      const __m512i codes = _mm512_loadu_si512(w);
      UM_UNROLL
      for (int i = 0; i < kRows; ++i) out[i].v = add_products(out[i].v, codes, a + i * lda + k);
    }
  }
};

template <RowType kPanel>
struct VnniDotFew {
  using Activation = int8_t;
  static constexpr RowType kType = kPanel;
  static constexpr int kMostRows = 12;
  static constexpr int kHigh = panel_high_bits(kPanel);

  /// A step: the codes of the first four channels and of the last four.
  static inline __attribute__((always_inline)) void codes(const uint8_t* step, __m512i& first,
                                                          __m512i& second) {
    const __m512i low = _mm512_set1_epi8(15), both = _mm512_loadu_si512(step);
    first = _mm512_and_si512(both, low);
    second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    if constexpr (kHigh > 0) {
      constexpr char kMask = (1 << kHigh) - 1;
      const __m512i high =
          join(high_bits<kHigh>(step + 64), high_bits<kHigh>(step + 64 + 8 * kHigh)).v;
      const __m512i in_first = _mm512_and_si512(high, _mm512_set1_epi8(kMask));
      const __m512i in_second = _mm512_and_si512(high, _mm512_set1_epi8(kMask << kHigh));
      first = _mm512_or_si512(first, _mm512_slli_epi32(in_first, 4));
      second = _mm512_or_si512(second, _mm512_slli_epi32(in_second, 4 - kHigh));
    }
  }

  template <int kRows>
  static inline __attribute__((always_inline)) void run(const int8_t* a, int64_t lda,
                                                        const uint8_t* w, int64_t depth,
                                                        Ints16 (&out)[kRows]) {
    UM_UNROLL
    for (int i = 0; i < kRows; ++i) out[i].v = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += 8, w += panel_step_bytes(kPanel)) {
      __m512i first, second;
      codes(w, first, second);
      UM_UNROLL
      for (int i = 0; i < kRows; ++i) {
        out[i].v = add_products(out[i].v, first, a + i * lda + k);
        out[i].v = add_products(out[i].v, second, a + i * lda + k + 4);
      }
    }
  }
};

#endif

}  // namespace um::UM_ISA
