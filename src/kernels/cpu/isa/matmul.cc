// The dense matmul of the kernel table. The forward form (weights [n,k]) is ours in every size: one
// summation order, so that a row has the same bits in a decode step and in a training batch. Large
// gradients, whose shapes come back every step, are oneDNN's.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/panel_gemm.h"
#include "kernels/cpu/onednn_matmul.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

/// Worth oneDNN: a gradient's layout, and enough work for a kernel compiled for its shape.
static bool is_large_gradient(const Matmul& args) {
  const bool forward = args.trans_b && !args.trans_a;
  return !forward && args.b.type() == RowType::f32 && args.batch == 1 &&
         args.m * args.n * args.k >= (int64_t{1} << 24);
}

static PanelGemm panel_problem(const void* p, int64_t) {
  const Matmul& args = *static_cast<const Matmul*>(p);
  return {.m = args.m,
          .n = args.n,
          .k = args.k,
          .a = args.a,
          .b = args.b,
          .c = args.c,
          .ldc = args.ldc,
          .bias = args.bias};
}

void matmul(const Matmul& args) {
  if (args.b.format.is_panels()) return panel_gemm_batch(1, panel_problem, &args);
  if (is_large_gradient(args) && onednn_matmul(args)) return;
  const auto problem = [](const void* p, int64_t i) {
    const Matmul& args = *static_cast<const Matmul*>(p);
    return Gemm{.m = args.m,
                .n = args.n,
                .k = args.k,
                .a = args.a.f32() + i * args.stride_a,
                .lda = args.a.ld(),
                .trans_a = args.trans_a,
                .b = args.b.from_row(i * args.rows_b),
                .trans_b = args.trans_b,
                .c = args.c + i * args.stride_c,
                .ldc = args.ldc,
                .bias = args.bias,
                .accumulate = args.accumulate};
  };
  gemm_batch(args.batch, problem, &args);
}

}  // namespace um::UM_ISA
