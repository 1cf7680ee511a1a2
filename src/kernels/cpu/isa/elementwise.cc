// Small ops: sum of two arrays, column sums (bias gradient), sum of squares in f64.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void add(const Add& a) {
  parallel_for(
      a.count, 3 * a.count,
      [&](int64_t begin, int64_t end) {
        for_vectors(end - begin, [&](int64_t at, int64_t n) {
          const int64_t i = begin + at;
          store_n(a.y + i, load_n(a.a + i, n) + load_n(a.b + i, n), n);
        });
      },
      1024);
}

void bias_grad(const BiasGrad& a) {
  static thread_local Scratch scratch;
  column_sums(a.rows, a.cols, 2 * a.rows * a.cols, a.dbias, a.accumulate, scratch,
              [&](int64_t begin, int64_t end, float* partial) {
                for (int64_t row = begin; row < end; ++row) {
                  const float* dy = a.dy + row * a.ld;
                  for_vectors(a.cols, [&](int64_t i, int64_t n) {
                    put_n(partial + i, load_n(dy + i, n), n, true);
                  });
                }
              });
}

void sum_squares(const SumSquares& a) {
  constexpr int64_t kBlock = 1 << 14;
  static thread_local Scratch scratch;
  const int64_t blocks = (a.count + kBlock - 1) / kBlock;
  auto* partial = static_cast<double*>(scratch.get(blocks * static_cast<int64_t>(sizeof(double))));
  parallel_for(blocks, a.count, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t size = (b + 1) * kBlock < a.count ? kBlock : a.count - b * kBlock;
      const float* x = a.x + b * kBlock;
      Sum64 even, odd;
      int64_t i = 0;
      for (; i + 2 * kWidth <= size; i += 2 * kWidth) {
        add_square(even, load(x + i));
        add_square(odd, load(x + i + kWidth));
      }
      for (; i < size; i += kWidth) {
        add_square(even, load_n(x + i, i + kWidth <= size ? kWidth : size - i));
      }
      partial[b] = sum(even) + sum(odd);
    }
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += partial[b];
  *a.result = total;
}

}  // namespace um::UM_ISA
