// The few vector operations our kernels need, over one instruction set's widest f32 register.
// A kernel is written once against `Vec` (kWidth lanes) and compiled per instruction set in
// namespace UM_ISA. Tails use partial loads and stores, which touch only `n` elements. Included
// only by kernels/cpu/isa/*.cc: nothing here may leak into code for older processors.
#pragma once

// gcc 12 takes the deliberately undefined registers of its own intrinsics for mistakes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

namespace um::UM_ISA {

#ifdef UM_ISA_avx512

constexpr int kWidth = 16;
struct Vec {
  __m512 v;
};
inline Vec load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline void store(float* p, Vec a) {
  _mm512_storeu_ps(p, a.v);
}
inline __mmask16 lanes(int64_t n) {
  return static_cast<__mmask16>((1u << n) - 1);
}
/// First n (0..kWidth) elements; the other lanes are zero.
inline Vec load_part(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(lanes(n), p)};
}
inline void store_part(float* p, Vec a, int64_t n) {
  _mm512_mask_storeu_ps(p, lanes(n), a.v);
}
inline Vec splat(float x) {
  return {_mm512_set1_ps(x)};
}
/// kWidth bf16 values, or the first n of them, widened.
inline Vec widen(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline Vec load(const uint16_t* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec load_part(const uint16_t* p, int64_t n) {
  return widen(_mm256_maskz_loadu_epi16(lanes(n), p));
}
/// kWidth int8 values as f32; back, rounded to nearest (magnitudes of at most 127).
inline Vec load(const int8_t* p) {
  return {_mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline void store(int8_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
/// The bits of 2 * kWidth bf16 values, or of the first n of them: a pair per lane.
inline Vec load_pairs(const uint16_t* p) {
  return {_mm512_loadu_ps(p)};
}
inline Vec load_pairs_part(const uint16_t* p, int64_t n) {
  const auto mask = static_cast<__mmask32>((uint64_t{1} << n) - 1);
  return {_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, p))};
}
/// The first or second value of each pair, widened.
inline Vec first_of_pairs(Vec pairs) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pairs.v), 16))};
}
inline Vec second_of_pairs(Vec pairs) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs.v), high))};
}
inline Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}  ///< a*b + c
inline Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}  ///< c - a*b
inline Vec max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}
inline Vec sqrt(Vec a) {
  return {_mm512_sqrt_ps(a.v)};
}
inline Vec round(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// a * 2^n for integral n (scalef handles overflow and denormals).
inline Vec scale_by_power(Vec a, Vec n) {
  return {_mm512_scalef_ps(a.v, n.v)};
}
inline float sum(Vec a) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
inline float max_lane(Vec a) {
  return _mm512_reduce_max_ps(a.v);
}
/// One bit per lane: a >= b (false for NaN).
inline uint32_t at_least(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ);
}
/// p[0] p[0] p[1] p[1] …: kWidth / 2 elements, each twice.
inline Vec load_twice(const float* p) {
  const __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return {_mm512_permutexvar_ps(index, _mm512_castps256_ps512(_mm256_loadu_ps(p)))};
}
/// Exchanges lanes 2i and 2i+1.
inline Vec swap_pairs(Vec a) {
  return {_mm512_permute_ps(a.v, 0xb1)};
}
/// a*b - c in even lanes, a*b + c in odd lanes.
inline Vec fma_subtract_add(Vec a, Vec b, Vec c) {
  return {_mm512_fmaddsub_ps(a.v, b.v, c.v)};
}
/// Sylvester's matrix of order kWidth times the lanes: of lanes that are 1 apart, then 2, …, sum
/// and difference.
inline Vec rotate_lanes(Vec a) {
  const auto pairs = [](__m512 from, __m512 other, __mmask16 later) {
    return _mm512_mask_sub_ps(_mm512_add_ps(from, other), later, other, from);
  };
  __m512 v = a.v;
  v = pairs(v, _mm512_permute_ps(v, 0xb1), 0xaaaa);
  v = pairs(v, _mm512_permute_ps(v, 0x4e), 0xcccc);
  v = pairs(v, _mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
  return {pairs(v, _mm512_shuffle_f32x4(v, v, 0x4e), 0xff00)};
}
/// Running sums in double, one per lane.
struct Sum64 {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
};
/// to += a² per lane.
inline void add_square(Sum64& to, Vec a) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a.v));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1));
  to.low = _mm512_fmadd_pd(low, low, to.low);
  to.high = _mm512_fmadd_pd(high, high, to.high);
}
inline double sum(const Sum64& a) {
  return _mm512_reduce_add_pd(_mm512_add_pd(a.low, a.high));
}

#else  // avx2

constexpr int kWidth = 8;
struct Vec {
  __m256 v;
};
inline Vec load(const float* p) {
  return {_mm256_loadu_ps(p)};
}
inline void store(float* p, Vec a) {
  _mm256_storeu_ps(p, a.v);
}
inline __m256i lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/// First n (0..kWidth) elements; the other lanes are zero.
inline Vec load_part(const float* p, int64_t n) {
  return {_mm256_maskload_ps(p, lanes(n))};
}
inline void store_part(float* p, Vec a, int64_t n) {
  _mm256_maskstore_ps(p, lanes(n), a.v);
}
inline Vec splat(float x) {
  return {_mm256_set1_ps(x)};
}
/// kWidth bf16 values, or the first n of them, widened.
inline Vec widen(__m128i bits) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
inline Vec load(const uint16_t* p) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec load_part(const uint16_t* p, int64_t n) {
  uint16_t values[kWidth] = {};
  for (int64_t i = 0; i < n; ++i) values[i] = p[i];
  return load(values);
}
/// kWidth int8 values as f32; back, rounded to nearest (magnitudes of at most 127).
inline Vec load(const int8_t* p) {
  return {_mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
inline void store(int8_t* p, Vec a) {
  const __m256i whole = _mm256_cvtps_epi32(a.v);
  const __m128i shorts =
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(shorts, shorts));
}
/// The bits of 2 * kWidth bf16 values, or of the first n of them: a pair per lane.
inline Vec load_pairs(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Vec load_pairs_part(const uint16_t* p, int64_t n) {
  uint16_t values[2 * kWidth] = {};
  for (int64_t i = 0; i < n; ++i) values[i] = p[i];
  return load_pairs(values);
}
/// The first or second value of each pair, widened.
inline Vec first_of_pairs(Vec pairs) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pairs.v), 16))};
}
inline Vec second_of_pairs(Vec pairs) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(pairs.v), high))};
}
inline Vec operator+(Vec a, Vec b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm256_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}  ///< a*b + c
inline Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
}  ///< c - a*b
inline Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.v, b.v)};
}
inline Vec sqrt(Vec a) {
  return {_mm256_sqrt_ps(a.v)};
}
inline Vec round(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// a * 2^n for integral n in [-252, 254], in two steps so that denormal results come out right.
inline Vec scale_by_power(Vec a, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v);
  const __m256i first = _mm256_srai_epi32(whole, 1), second = _mm256_sub_epi32(whole, first);
  auto power = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, power(first)), power(second))};
}
inline float sum(Vec a) {
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
inline float max_lane(Vec a) {
  const __m128 quarter = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}
/// One bit per lane: a >= b (false for NaN).
inline uint32_t at_least(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)));
}
/// p[0] p[0] p[1] p[1] …: kWidth / 2 elements, each twice.
inline Vec load_twice(const float* p) {
  const __m256i index = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  return {_mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), index)};
}
/// Exchanges lanes 2i and 2i+1.
inline Vec swap_pairs(Vec a) {
  return {_mm256_permute_ps(a.v, 0xb1)};
}
/// a*b - c in even lanes, a*b + c in odd lanes.
inline Vec fma_subtract_add(Vec a, Vec b, Vec c) {
  return {_mm256_fmaddsub_ps(a.v, b.v, c.v)};
}
/// Sylvester's matrix of order kWidth times the lanes: of lanes that are 1 apart, then 2, …, sum
/// and difference.
inline Vec rotate_lanes(Vec a) {
  __m256 v = a.v, other = _mm256_permute_ps(v, 0xb1);
  v = _mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v), 0xaa);
  other = _mm256_permute_ps(v, 0x4e);
  v = _mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v), 0xcc);
  other = _mm256_permute2f128_ps(v, v, 1);
  return {_mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v), 0xf0)};
}
/// Running sums in double, one per lane.
struct Sum64 {
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
};
/// to += a² per lane.
inline void add_square(Sum64& to, Vec a) {
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(a.v));
  const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1));
  to.low = _mm256_fmadd_pd(low, low, to.low);
  to.high = _mm256_fmadd_pd(high, high, to.high);
}
inline double sum(const Sum64& a) {
  const __m256d all = _mm256_add_pd(a.low, a.high);
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(all), _mm256_extractf128_pd(all, 1));
  return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}

#endif

/// e^x within 2 ulp: x = n ln2 + r, a degree-7 polynomial in r. Below -104 it gives 0, above 88.8
/// infinity; denormal results are right; NaN stays NaN (min and max return their second operand
/// when either is NaN, hence their order here).
inline Vec exp(Vec x) {
  const Vec clamped = max(splat(-104.0f), min(splat(89.0f), x));
  const Vec n = round(clamped * splat(1.44269504088896341f));
  Vec r = fnma(n, splat(0.693359375f), clamped);
  r = fnma(n, splat(-2.12194440e-4f), r);
  Vec p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r + splat(1.0f));
  return scale_by_power(p, n);
}

/// 1 / (1 + e^-x)
inline Vec sigmoid(Vec x) {
  return splat(1.0f) / (splat(1.0f) + exp(splat(0.0f) - x));
}

}  // namespace um::UM_ISA
