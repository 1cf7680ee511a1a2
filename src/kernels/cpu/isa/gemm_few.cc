// The product of more rows than a few, C = A·Bᵀ, without packing B: kWidth rows of C at a time from
// a packed A, while B is read from where it lies and transposed in registers, a few elements of k
// between the multiplications. The loads and shuffles fit beside them, so that it runs at the speed
// of the multiplications from about ten rows on.
#include <cstring>

#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/gemm_transpose.h"

namespace um::UM_ISA {

#ifdef UM_ISA_avx512

namespace {

/// How far along its row, in bytes, B is asked for before its use.
constexpr int64_t kAhead = 1024;

/// Elements of a row in a quarter of a register: a step along k.
template <class T>
constexpr int kStep = 16 / static_cast<int>(sizeof(T));

/// A quarter of the result each from four rows.
inline __m512 quarters(const void* a, const void* b, const void* c, const void* d) {
  const auto part = [](const void* p) { return _mm_loadu_ps(static_cast<const float*>(p)); };
  __m512 all = _mm512_castps128_ps512(part(a));
  all = _mm512_insertf32x4(all, part(b), 1);
  all = _mm512_insertf32x4(all, part(c), 2);
  return _mm512_insertf32x4(all, part(d), 3);
}

inline void store_bits(float* p, Vec a) {
  store(p, a);
}
inline void store_bits(uint16_t* p, Vec a) {
  _mm512_storeu_ps(p, a.v);
}

/// Words k/words … of kWidth rows: t[i] has word i of every row.
template <class T>
inline __attribute__((always_inline)) void load_transposed(const T* const (&b)[kWidth], int64_t k,
                                                           Vec (&t)[4]) {
  __m512 row[4];
  UM_UNROLL
  for (int r = 0; r < 4; ++r) {
    row[r] = quarters(b[r] + k, b[r + 4] + k, b[r + 8] + k, b[r + 12] + k);
  }
  const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(row[0], row[1]));
  const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(row[0], row[1]));
  const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(row[2], row[3]));
  const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(row[2], row[3]));
  t[0].v = _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23));
  t[1].v = _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23));
  t[2].v = _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23));
  t[3].v = _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23));
}

template <class T>
inline __attribute__((always_inline)) Vec element_of(const Vec (&t)[4], int i) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return t[i];
  } else {
    return i % 2 == 0 ? first_of_pairs(t[i / 2]) : second_of_pairs(t[i / 2]);
  }
}

/// One element of k, `a` of kRows rows of A and x of kWidth rows of B.
template <int kRows>
inline __attribute__((always_inline)) void add(const float* a, Vec x, Vec (&sum)[kRows]) {
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) sum[m] = fma(splat(a[m]), x, sum[m]);
}

/// The next kStep elements.
template <class T, int kRows>
inline __attribute__((always_inline)) void add_step(const T* const (&b)[kWidth], int64_t k,
                                                    const float* a, Vec (&sum)[kRows]) {
  Vec t[4];
  load_transposed(b, k, t);
  UM_UNROLL
  for (int i = 0; i < kStep<T>; ++i) add(a + (k + i) * kWidth, element_of<T>(t, i), sum);
}

/// The last `count` elements, fewer than kStep.
template <class T, int kRows>
inline void add_last(const T* const (&b)[kWidth], int64_t k, int64_t count, const float* a,
                     Vec (&sum)[kRows]) {
  T rest[kWidth][kStep<T>] = {};
  const T* pointers[kWidth];
  for (int r = 0; r < kWidth; ++r) {
    std::memcpy(rest[r], b[r] + k, static_cast<size_t>(count) * sizeof(T));
    pointers[r] = rest[r];
  }
  Vec t[4];
  load_transposed(pointers, 0, t);
  float x[kStep<T>][kWidth];
  UM_UNROLL
  for (int i = 0; i < kStep<T>; ++i) store(x[i], element_of<T>(t, i));
  for (int64_t i = 0; i < count; ++i) add(a + (k + i) * kWidth, load(x[i]), sum);
}

/// Where kWidth rows of B lie, and where to copy them to.
template <class T>
struct Rows {
  const T* p;
  int64_t ld;
  T* copy;  ///< null: nowhere
  int64_t ld_copy;
};

/// kWidth columns (or the last few) of C.
template <class T, int kRows>
void columns(const Gemm& g, const Rows<T>& rows, const float* a, int64_t row, int64_t column,
             int64_t lanes) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  constexpr int64_t kFar = kAhead / static_cast<int64_t>(sizeof(T));
  constexpr int kParts = static_cast<int>(kLine) / kStep<T>;  // steps of a line
  const T* b[kWidth];
  for (int64_t r = 0; r < kWidth; ++r) {
    b[r] = rows.p + (r < lanes ? r : lanes - 1) * rows.ld;
  }
  Vec sum[kRows];
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) {
    float* c = g.c + (row + m) * g.ldc + column;
    sum[m] = g.accumulate ? load_part(c, lanes) : splat(0);
    if (g.bias != nullptr) sum[m] = sum[m] + load_part(g.bias + column, lanes);
  }
  int64_t k = 0;
  for (; k + kLine <= g.k; k += kLine) {
    // Past the end of these rows come the rows of the next columns.
    const int64_t next = k + kFar;
    const int64_t ahead = next < g.k ? next : next - g.k + kWidth * rows.ld;
    if (rows.copy != nullptr) {
      for (int r = 0; r < kWidth; ++r)
        store_bits(rows.copy + r * rows.ld_copy + k, load_bits(b[r] + k));
    }
    for (int part = 0; part < kParts; ++part) {
      UM_UNROLL
      for (int r = 0; r < kWidth / kParts; ++r) {
        const T* line = b[part * (kWidth / kParts) + r] + ahead;
        _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
      }
      add_step(b, k + part * kStep<T>, a, sum);
    }
  }
  for (; k + kStep<T> <= g.k; k += kStep<T>) {
    add_step(b, k, a, sum);
  }
  if (rows.copy != nullptr) {
    const int64_t done = g.k / kLine * kLine;
    for (int r = 0; r < kWidth; ++r)
      std::memcpy(rows.copy + r * rows.ld_copy + done, b[r] + done,
                  static_cast<size_t>(g.k - done) * sizeof(T));
  }
  if (k < g.k) add_last(b, k, g.k - k, a, sum);
  UM_UNROLL
  for (int m = 0; m < kRows; ++m) store_part(g.c + (row + m) * g.ldc + column, sum[m], lanes);
}

template <class T>
using Columns = void (*)(const Gemm&, const Rows<T>&, const float*, int64_t, int64_t, int64_t);
template <class T>
constexpr Columns<T> kColumns[] = {columns<T, 1>,  columns<T, 2>,  columns<T, 3>,  columns<T, 4>,
                                   columns<T, 5>,  columns<T, 6>,  columns<T, 7>,  columns<T, 8>,
                                   columns<T, 9>,  columns<T, 10>, columns<T, 11>, columns<T, 12>,
                                   columns<T, 13>, columns<T, 14>, columns<T, 15>, columns<T, 16>};

template <class T>
void few(const Gemm& g, const T* weights, int64_t ldb, const float* a, int64_t first, int64_t rows,
         int64_t step, int64_t column, int64_t count, T* memory) {
  constexpr int64_t kSize = sizeof(T), kPad = 64 / kSize;
  // Rows so far apart share a set of the nearest cache, which has no room for kWidth of them.
  const bool far = ldb * kSize % 4096 == 0 && kWidth * (g.k + kPad) * kSize <= kFewScratchBytes;
  for (int64_t j = 0; j < count; j += kWidth) {
    const int64_t lanes = count - j < kWidth ? count - j : kWidth;
    Rows<T> from{weights + (column + j) * ldb, ldb, nullptr, g.k + kPad};
    if (far && rows > step) from.copy = memory;
    for (int64_t row = 0; row < rows; row += step) {
      const int64_t here = rows - row < step ? rows - row : step;
      kColumns<T>[here - 1](g, from, a + row / step * g.k * kWidth, first + row, column + j, lanes);
      if (from.copy != nullptr) from = {from.copy, from.ld_copy, nullptr, 0};
    }
  }
}

}  // namespace

void gemm_few(const Gemm& g, const float* a, int64_t row, int64_t rows, int64_t step,
              int64_t column, int64_t columns, void* scratch) {
  with_values(g.b, [&]<class T>(const T* values, int64_t ld) {
    few(g, values, ld, a, row, rows, step, column, columns, static_cast<T*>(scratch));
  });
}

#else

void gemm_few(const Gemm&, const float*, int64_t, int64_t, int64_t, int64_t, int64_t, void*) {}

#endif

}  // namespace um::UM_ISA
