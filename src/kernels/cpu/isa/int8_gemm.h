// The product of int8 rows, C = A·Bᵀ with a scale per row of A and of B (um::Matmul): what W8A8
// models compute in. Integer sums are exact, so a row's bits depend on nothing but itself.
#pragma once

#include <cstdint>

#include "kernels/args/rows_view.h"

namespace um::UM_ISA {

/// One product C[m,n]. gather_a replaces A's row index. `swiglu` also gets silu(C[:, :n/2]) *
/// C[:, n/2:], row stride n/2.
struct Int8Gemm {
  int64_t m = 0, n = 0, k = 0;
  RowsView a;
  const int32_t* gather_a = nullptr;
  RowsView b;
  float* c = nullptr;
  int64_t ldc = 0;
  const float* bias = nullptr;
  float* swiglu = nullptr;
};

/// Runs products get(args, 0 … count-1), which write disjoint outputs, on all threads.
void int8_gemm_batch(int64_t count, Int8Gemm (*get)(const void* args, int64_t problem),
                     const void* args);

}  // namespace um::UM_ISA
