// The expert matmuls of the kernel table: each group is one product over its own rows.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

/// The group's slots, or the rows which they gather, as the row index of a stored matrix.
template <class Base>
void set_rows(const float* p, int64_t ld, const int32_t* gather, int64_t first, Base* base,
              const int32_t** list) {
  *base = gather != nullptr ? p : p + first * ld;
  *list = gather != nullptr ? gather + first : nullptr;
}

Gemm group_problem(const void* p, int64_t group) {
  const GroupedMatmul& args = *static_cast<const GroupedMatmul*>(p);
  const int64_t first = args.offsets[group], rows = args.offsets[group + 1] - first;
  Gemm g;
  g.lda = args.lda;
  g.ldc = args.ldc;
  set_rows(args.a, args.lda, args.gather_a, first, &g.a, &g.gather_a);
  if (args.kind == GroupedMatmul::Kind::grad_weight) {
    g.m = args.n;
    g.n = args.k;
    g.k = rows;
    g.trans_a = true;
    g.ldb = args.ldx;
    set_rows(args.x, args.ldx, args.gather_x, first, &g.b, &g.gather_b);
    g.c = args.c + group * args.n * args.ldc;
    g.accumulate = args.accumulate;
    return g;
  }
  const bool forward = args.kind == GroupedMatmul::Kind::forward;
  g.m = rows;
  g.n = forward ? args.n : args.k;
  g.k = forward ? args.k : args.n;
  g.b = args.b + (args.slots != nullptr ? args.slots[group] : group) * args.n * args.k;
  g.ldb = args.k;
  g.trans_b = forward;
  g.c = args.c + first * args.ldc;
  if (forward && args.swiglu != nullptr) g.swiglu = args.swiglu + first * (args.n / 2);
  return g;
}

}  // namespace

void grouped_matmul(const GroupedMatmul& args) {
  gemm_batch(args.groups, group_problem, &args);
}

}  // namespace um::UM_ISA
