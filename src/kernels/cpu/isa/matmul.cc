// The dense matmul of the kernel table.
#include "kernels/cpu/isa/gemm.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void matmul(const Matmul& args) {
  const auto problem = [](const void* p, int64_t i) {
    const Matmul& args = *static_cast<const Matmul*>(p);
    return Gemm{.m = args.m,
                .n = args.n,
                .k = args.k,
                .a = args.a + i * args.stride_a,
                .lda = args.lda,
                .trans_a = args.trans_a,
                .b = args.b + i * args.stride_b,
                .ldb = args.ldb,
                .trans_b = args.trans_b,
                .c = args.c + i * args.stride_c,
                .ldc = args.ldc,
                .bias = args.bias,
                .accumulate = args.accumulate};
  };
  gemm_batch(args.batch, problem, &args);
}

}  // namespace um::UM_ISA
