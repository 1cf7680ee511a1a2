// Scalar matmul: the definition of correct. Products are summed in double, in the order of k, and
// rounded to float once; int8 products are summed in integers. bf16 operands are rounded first.
#include "kernels/kernels.h"
#include "kernels/ref/row_values.h"

namespace um::ref {
namespace {

void integer_matmul(const Matmul& args) {
  for (int64_t i = 0; i < args.m; ++i)
    for (int64_t j = 0; j < args.n; ++j)
      args.c[i * args.ldc + j] =
          integer_product(args.a, i, args.b, j, args.k, args.bias != nullptr ? args.bias[j] : 0.0f);
}

}  // namespace

void matmul(const Matmul& args) {
  if (args.a.type() == RowType::i8) return integer_matmul(args);
  const int64_t lda = args.a.ld();
  for (int64_t p = 0; p < args.batch; ++p) {
    const float* a = args.a.f32() + p * args.stride_a;
    const RowsView b = args.b.from_row(p * args.rows_b);
    float* c = args.c + p * args.stride_c;
    for (int64_t i = 0; i < args.m; ++i) {
      for (int64_t j = 0; j < args.n; ++j) {
        double sum = args.accumulate ? c[i * args.ldc + j] : 0.0;
        if (args.bias != nullptr) sum += args.bias[j];
        for (int64_t l = 0; l < args.k; ++l) {
          const float x = args.trans_a ? a[l * lda + i] : a[i * lda + l];
          const float y = args.trans_b ? value_at(b, j, l) : value_at(b, l, j);
          sum += rounded_product(args.operands, x, y);
        }
        c[i * args.ldc + j] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace um::ref
