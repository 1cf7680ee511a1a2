// Arguments of matrix products: dense, grouped by expert, and the gradient of a bias.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

#include "kernels/args/rows_view.h"

namespace um {

/// What f32 operands of a product are rounded to (nearest, ties to even) before they are
/// multiplied. Sums are f32 either way; operands in integers are not touched.
enum class Operands : uint8_t { f32, bf16 };

/// C[m,n] (+)= op(A)[m,k] · op(B)[k,n] + bias[n], for each of `batch` independent problems.
/// op(A) is A stored [m,k], or [k,m] when `trans_a`; op(B) is B stored [k,n], or [n,k] when
/// `trans_b`. The forward of a linear layer is trans_b (weights are [out,in]). a is f32, b f32 or
/// bf16; or, in a forward without `accumulate` and batch, a is i8 and b lies in panels. Both then
/// have scales per group of channels (one group divides the other), and
///   C[i,j] = bias[j], then for each group of channels g, the smaller ones, in order
///   C[i,j] = fma(float(Σ_{k in g} a[i,k] b[j,k]), scale_a[i,g] * scale_b[j,g], C[i,j])
///   C[i,j] = fma(float(Σ_{k in g} a[i,k]) * scale_a[i,g], offset_b[j,g], C[i,j])  with offsets
/// with sums in int32 (k at most kMaxInt8Depth).
struct Matmul {
  int64_t m = 0, n = 0, k = 0;
  RowsView a{};
  bool trans_a = false;
  RowsView b{};
  bool trans_b = false;
  float* c = nullptr;
  int64_t ldc = 0;
  const float* bias = nullptr;
  bool accumulate = false;
  Operands operands = Operands::f32;
  int64_t batch = 1, stride_a = 0, rows_b = 0, stride_c = 0;  ///< from problem to problem: elements
                                                              ///< of a and c, rows of b
};

/// The longest int8 row whose products fit an int32 sum.
inline constexpr int64_t kMaxInt8Depth = (int64_t{1} << 31) / (128 * 128) - 1;

/// Matmuls over rows grouped by expert: group g owns the rows offsets[g] .. offsets[g+1]-1
/// ("slots"). b is [groups, n, k]; types as in Matmul, panels in the forward. Empty groups are
/// ordinary (grad_weight then writes zeros, or adds nothing).
struct GroupedMatmul {
  enum class Kind {
    forward,  ///< c[row,n] = a[gather(row),k] · b[g]ᵀ; if `swiglu`: also its activation [row,n/2]
    grad_input,  ///< c[row,k] = a[gather(row),n] · b[g]
    grad_weight  ///< c[g][n,k] (+)= Σ_row a[gather_a(row),n]ᵀ · x[gather_x(row),k]   (b unused)
  };
  Kind kind = Kind::forward;
  int64_t groups = 0, rows = 0, n = 0, k = 0;
  const int64_t* offsets = nullptr;  ///< [groups+1]
  RowsView a{};
  const int32_t* gather_a = nullptr;  ///< row of `a` for each slot; null: the slot itself
  RowsView b{};                       ///< weights: group g has the n rows from row g*n on
  const int32_t* slots = nullptr;  ///< forward only: the weights of g are b[slots[g]]; null: b[g]
  RowsView x{};                    ///< grad_weight only
  const int32_t* gather_x = nullptr;
  float* c = nullptr;
  int64_t ldc = 0;
  float* swiglu = nullptr;  ///< forward only: [rows,n/2] = silu(c[:, :n/2]) * c[:, n/2:]
  bool accumulate = false;  ///< grad_weight only
  Operands operands = Operands::f32;
};

/// dbias[n] (+)= Σ_rows dy[row,n].
struct BiasGrad {
  int64_t rows = 0, cols = 0;
  const float* dy = nullptr;
  int64_t ld = 0;
  float* dbias = nullptr;
  bool accumulate = false;
};

}  // namespace um
