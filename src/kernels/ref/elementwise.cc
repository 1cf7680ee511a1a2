// Small ops, reference: sum of two arrays, column sums (bias gradient), sum of squares.
#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {

void add(const Add& a) {
  for (int64_t i = 0; i < a.count; ++i) a.y[i] = a.a[i] + a.b[i];
}

void bias_grad(const BiasGrad& a) {
  for (int64_t i = 0; i < a.cols; ++i) {
    double sum = 0;
    for (int64_t row = 0; row < a.rows; ++row) sum += a.dy[row * a.ld + i];
    put(a.dbias + i, sum, a.accumulate);
  }
}

void sum_squares(const SumSquares& a) {
  double sum = 0;
  for (int64_t i = 0; i < a.count; ++i) sum += static_cast<double>(a.x[i]) * a.x[i];
  *a.result = sum;
}

}  // namespace um::ref
