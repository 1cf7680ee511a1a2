// Scalar matmul: the definition of correct. Products are summed in double, in the order of k, and
// rounded to float once.
#include "kernels/kernels.h"
#include "kernels/ref/weight.h"

namespace um::ref {

void matmul(const Matmul& args) {
  for (int64_t p = 0; p < args.batch; ++p) {
    const float* a = args.a + p * args.stride_a;
    const WeightPtr b = args.b + p * args.stride_b;
    float* c = args.c + p * args.stride_c;
    for (int64_t i = 0; i < args.m; ++i) {
      for (int64_t j = 0; j < args.n; ++j) {
        double sum = args.accumulate ? c[i * args.ldc + j] : 0.0;
        if (args.bias != nullptr) sum += args.bias[j];
        for (int64_t l = 0; l < args.k; ++l) {
          const double x = args.trans_a ? a[l * args.lda + i] : a[i * args.lda + l];
          const double y = weight_at(b, args.trans_b ? j * args.ldb + l : l * args.ldb + j);
          sum += x * y;
        }
        c[i * args.ldc + j] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace um::ref
