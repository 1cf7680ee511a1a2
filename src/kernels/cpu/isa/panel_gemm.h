// The product of int8 activations with weights in panels, C = A·Bᵀ (um::Matmul): what models of 8
// and 4 bits compute in. Sums of integers are exact and groups are added in order, so a row's bits
// depend on nothing but itself, and all instruction sets give the same.
#pragma once

#include <cstdint>

#include "kernels/args/rows_view.h"

namespace um::UM_ISA {

/// One product C[m,n]. gather_a replaces A's row index. `swiglu` also gets silu(C[:, :n/2]) *
/// C[:, n/2:], row stride n/2.
struct PanelGemm {
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
void panel_gemm_batch(int64_t count, PanelGemm (*get)(const void* args, int64_t problem),
                      const void* args);

}  // namespace um::UM_ISA
