// The dense matmul of the kernel table. The forward form (weights [n,k]) is ours in every size: one
// summation order, so that a row has the same bits in a decode step and in a training batch. Large
// gradients, whose shapes come back every step, are oneDNN's; of bf16 operands where the processor
// multiplies those.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/panel_gemm.h"
#include "kernels/cpu/isa/rows.h"
#include "kernels/cpu/onednn_matmul.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

/// Worth oneDNN: a gradient's layout, and enough work for a kernel compiled for its shape.
static bool is_large_gradient(const Matmul& args) {
  const bool forward = args.trans_b && !args.trans_a;
  return !forward && args.b.type() == RowType::f32 && args.batch == 1 &&
         args.m * args.n * args.k >= (int64_t{1} << 24);
}

/// `count` rows of `width` in bf16, in memory that the thread keeps.
static RowsView narrowed(const RowsView& rows, int64_t count, int64_t width, Scratch& scratch) {
  if (rows.type() == RowType::bf16) return rows;
  auto* y = static_cast<uint16_t*>(scratch.get(count * width * 2));
  narrow_rows(
      {.rows = count, .width = width, .x = rows.f32(), .ldx = rows.ld(), .y = y, .ldy = width});
  return {y, width};
}

/// oneDNN's product, of bf16 operands where those are asked for; false where it has none.
static bool library_matmul(const Matmul& args) {
  if (args.operands == Operands::f32) return onednn_matmul(args);
  if (bf16_instructions() == nullptr) return false;
  thread_local Scratch scratch_a, scratch_b;
  Matmul narrow = args;
  narrow.a =
      narrowed(args.a, args.trans_a ? args.k : args.m, args.trans_a ? args.m : args.k, scratch_a);
  narrow.b =
      narrowed(args.b, args.trans_b ? args.n : args.k, args.trans_b ? args.k : args.n, scratch_b);
  return onednn_matmul(narrow);
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
  if (is_large_gradient(args) && library_matmul(args)) return;
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
                .accumulate = args.accumulate,
                .pairs = args.operands == Operands::bf16};
  };
  gemm_batch(args.batch, problem, &args);
}

}  // namespace um::UM_ISA
