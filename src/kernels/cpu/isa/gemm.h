// Our own f32 matrix product. Every element of C is one strictly sequential chain
//   c = (accumulate ? c : 0) + bias;  for k = 0, 1, …:  c = fma(a[k], b[k], c)
// whichever path computes it (packed panels for many rows, streaming for few) and however the work
// is cut for threads; a bf16 b is widened as it is read. So the bits of a row do not depend on the
// number of rows, on the number of threads, on grouping, or on the instruction set. With operands
// in bf16 the chain goes in pairs of k, by the processor's instruction where it has one; then the
// bits depend on that, and on nothing else. Blocking follows Goto & van de Geijn, "Anatomy of
// high-performance matrix multiplication" (2008).
#pragma once

#include <cstdint>

#include "kernels/args/rows_view.h"
#include "kernels/cpu/isa/simd.h"

namespace um::UM_ISA {

// A micro tile of C is kMr rows by kNr columns, held in registers: 14x2 accumulators of 32
// registers in AVX-512, 6x2 of 16 in AVX2, which leaves room for two vectors of B and a broadcast.
// Up to kSkinnyRows rows C is computed by streaming B once, without packing. With kReadsInPlace
// more rows can do so too, from a packed A, where B is stored [n,k].
#ifdef UM_ISA_avx512
constexpr int kMr = 14, kSkinnyRows = 8;
constexpr bool kReadsInPlace = true;
#else
constexpr int kMr = 6, kSkinnyRows = 4;
constexpr bool kReadsInPlace = false;
#endif
constexpr int kNr = 2 * kWidth;

/// Unrolls the next loop over registers completely; not under a sanitizer, whose checks would be
/// unrolled with it (minutes to compile).
#ifdef UM_NO_UNROLL
#define UM_UNROLL
#elif defined(__clang__)
#define UM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define UM_UNROLL _Pragma("GCC unroll 32")
#endif

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/// One product C[m,n] = op(A)·op(B), as in um::Matmul. gather_a replaces A's row index (of A as
/// stored: a row of op(A), or a k when trans_a), gather_b that of B stored [k,n]. `swiglu` also
/// gets silu(C[:, :n/2]) * C[:, n/2:], row stride n/2.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t lda = 0;
  bool trans_a = false;
  const int32_t* gather_a = nullptr;
  RowsView b;
  bool trans_b = false;
  const int32_t* gather_b = nullptr;
  float* c = nullptr;
  int64_t ldc = 0;
  const float* bias = nullptr;
  bool accumulate = false;
  float* swiglu = nullptr;
  bool pairs = false;  ///< operands are rounded to bf16 (um::Operands) and multiplied in pairs of k
};

/// Row `i` of a stored matrix, through its gather list if it has one.
template <class T>
inline const T* stored_row(const T* p, int64_t ld, const int32_t* gather, int64_t i) {
  return p + (gather != nullptr ? gather[i] : i) * ld;
}

/// f(values, elements from row to row) with f32 or bf16 rows as what they are: the one place where
/// the type of B becomes the type of a kernel.
template <class F>
inline void with_values(const RowsView& rows, const F& f) {
  if (rows.type() == RowType::bf16)
    f(rows.bf16(), rows.ld());
  else
    f(rows.f32(), rows.ld());
}

/// Rows and columns of a part of a matrix.
struct Part {
  int64_t row, rows, column, columns;
};

/// swiglu[part] = silu(C[:, :n/2]) * C[:, n/2:] of a finished part of C [m, n]; row stride n/2.
inline void activate(float* swiglu, const float* c, int64_t ldc, int64_t n, const Part& part) {
  const int64_t half = n / 2;
  for (int64_t i = part.row; i < part.row + part.rows; ++i) {
    const float *gate = c + i * ldc + part.column, *up = gate + half;
    float* out = swiglu + i * half + part.column;
    for (int64_t j = 0; j < part.columns; j += kWidth) {
      const int64_t lanes = least(kWidth, part.columns - j);
      const Vec x = load_part(gate + j, lanes);
      store_part(out + j, x * sigmoid(x) * load_part(up + j, lanes), lanes);
    }
  }
}

/// Runs problems get(args, 0 … count-1), which write disjoint outputs, on all threads.
void gemm_batch(int64_t count, Gemm (*get)(const void* args, int64_t problem), const void* args);

/// Columns [column, column+columns) of C for m <= kSkinnyRows and not trans_a, reading B once.
void gemm_skinny(const Gemm& g, int64_t column, int64_t columns);

/// Rows [row, row+rows) of those columns, for a B stored [n,k]; `a`: these rows of A by pack_a in
/// panels of `step`, over the whole k. `scratch`: kFewScratchBytes. Only with kReadsInPlace.
void gemm_few(const Gemm& g, const float* a, int64_t row, int64_t rows, int64_t step,
              int64_t column, int64_t columns, void* scratch);
constexpr int64_t kFewScratchBytes = 1 << 20;

// --- gemm_kernel.cc: the register tile and the packing of its operands ---

/// Packs rows [row, row+rows) of op(A), k in [k0, k0+kc), as panels of `step` rows, each
/// [kc][kWidth]. Lanes of no row hold anything. As pairs (k0 even) the first half of a panel's
/// place holds them, [(kc+1)/2][kWidth], a lone last one with a zero.
void pack_a(const Gemm& g, int64_t row, int64_t rows, int64_t step, int64_t k0, int64_t kc,
            float* packed);
/// Packs columns [column, column+columns) of op(B) as panels of kNr columns, each [kc][kNr].
/// Lanes of no column hold anything finite or not; they are never stored.
void pack_b(const Gemm& g, int64_t column, int64_t columns, int64_t k0, int64_t kc, float* packed);

/// Memory to ask for during a tile: a line of 64 bytes of each of kNr rows, then the next lines.
struct NextBlock {
  const char* p = nullptr;  ///< null: nothing
  int64_t ld = 0;           ///< bytes from row to row
};

/// Steps of a tile over kc of k: one each, or one for a pair.
inline int64_t tile_steps(const Gemm& g, int64_t kc) {
  return g.pairs ? (kc + 1) / 2 : kc;
}

/// C[rows, columns] = init + A·B over kc of k of packed operands of `g`, where init is C when
/// `load`, else zero, plus bias if given.
void micro_tile(const Gemm& g, int64_t rows, int64_t columns, int64_t kc, const float* a,
                const float* b, float* c, bool load, const float* bias,
                const NextBlock& ahead = {});

}  // namespace um::UM_ISA
