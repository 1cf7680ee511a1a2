// The expert matmuls of the kernel table: each group is one product over its own rows.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/cpu/isa/panel_gemm.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

/// The rows of a group that begins with slot `first`: gathered ones are found through the list.
RowsView group_rows(const RowsView& rows, const int32_t* gather, int64_t first) {
  return gather != nullptr ? rows : rows.from_row(first);
}
const int32_t* group_list(const int32_t* gather, int64_t first) {
  return gather != nullptr ? gather + first : nullptr;
}

/// The weights of a group's expert.
RowsView weights_of(const GroupedMatmul& args, int64_t group) {
  return args.b.from_row((args.slots != nullptr ? args.slots[group] : group) * args.n);
}

PanelGemm panel_group_problem(const void* p, int64_t group) {
  const GroupedMatmul& args = *static_cast<const GroupedMatmul*>(p);
  const int64_t first = args.offsets[group];
  return {.m = args.offsets[group + 1] - first,
          .n = args.n,
          .k = args.k,
          .a = group_rows(args.a, args.gather_a, first),
          .gather_a = group_list(args.gather_a, first),
          .b = weights_of(args, group),
          .c = args.c + first * args.ldc,
          .ldc = args.ldc,
          .bias = nullptr,
          .swiglu = args.swiglu != nullptr ? args.swiglu + first * (args.n / 2) : nullptr};
}

Gemm group_problem(const void* p, int64_t group) {
  const GroupedMatmul& args = *static_cast<const GroupedMatmul*>(p);
  const int64_t first = args.offsets[group], rows = args.offsets[group + 1] - first;
  Gemm g;
  g.pairs = args.operands == Operands::bf16;
  g.a = group_rows(args.a, args.gather_a, first).f32();
  g.lda = args.a.ld();
  g.gather_a = group_list(args.gather_a, first);
  g.ldc = args.ldc;
  if (args.kind == GroupedMatmul::Kind::grad_weight) {
    g.m = args.n;
    g.n = args.k;
    g.k = rows;
    g.trans_a = true;
    g.b = group_rows(args.x, args.gather_x, first);
    g.gather_b = group_list(args.gather_x, first);
    g.c = args.c + group * args.n * args.ldc;
    g.accumulate = args.accumulate;
    return g;
  }
  const bool forward = args.kind == GroupedMatmul::Kind::forward;
  g.m = rows;
  g.n = forward ? args.n : args.k;
  g.k = forward ? args.k : args.n;
  g.b = weights_of(args, group);
  g.trans_b = forward;
  g.c = args.c + first * args.ldc;
  if (forward && args.swiglu != nullptr) g.swiglu = args.swiglu + first * (args.n / 2);
  return g;
}

}  // namespace

void grouped_matmul(const GroupedMatmul& args) {
  if (args.b.format.is_panels()) return panel_gemm_batch(args.groups, panel_group_problem, &args);
  gemm_batch(args.groups, group_problem, &args);
}

}  // namespace um::UM_ISA
