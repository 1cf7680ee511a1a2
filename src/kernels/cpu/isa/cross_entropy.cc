// Softmax cross-entropy with z-loss and its gradient. A row is read from memory once (for its
// maximum); exponentials and the gradient then work from the second-level cache.
#include <math.h>

#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

constexpr int64_t kSumBlock = 4096;  // f32 sums within, f64 across

float row_max(const float* x, int64_t cols) {
  const Vec lowest = splat(-__builtin_inff());
  Vec m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
  int64_t i = 0;
  for (; i + 4 * kWidth <= cols; i += 4 * kWidth) {
    m0 = max(load(x + i), m0);  // a NaN is passed over; the sum finds it
    m1 = max(load(x + i + kWidth), m1);
    m2 = max(load(x + i + 2 * kWidth), m2);
    m3 = max(load(x + i + 3 * kWidth), m3);
  }
  for (; i + kWidth <= cols; i += kWidth) m0 = max(load(x + i), m0);
  float best = max_lane(max(max(m0, m1), max(m2, m3)));
  for (; i < cols; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// Σ exp(x - top), keeping the exponentials in `keep` (may be x) if it is not null.
double sum_of_exp(const float* x, float top, int64_t cols, float* keep) {
  const Vec shift = splat(top);
  double total = 0;
  for (int64_t begin = 0; begin < cols; begin += kSumBlock) {
    const int64_t size = begin + kSumBlock < cols ? kSumBlock : cols - begin;
    total += sum_of(size, [&](int64_t i, int64_t n, Vec s) {
      const Vec e = exp(load_n(x + begin + i, n) - shift);
      if (keep) store_n(keep + begin + i, e, n);
      if (n == kWidth) return s + e;
      float tail[kWidth] = {};  // lanes beyond n hold exp(-top): leave them out
      store_part(tail, e, n);
      return s + load(tail);
    });
  }
  return total;
}

// 1 if the target is the first of the highest logits.
float is_argmax(const float* x, int64_t target, float top) {
  if (x[target] != top) return 0;
  for (int64_t i = 0; i < target; ++i) {
    if (x[i] == top) return 0;
  }
  return 1;
}

void loss_row(const CrossEntropy& a, int64_t row) {
  const int64_t target = a.targets[row];
  const float* x = a.logits + row * a.ld;
  float* dx = a.dlogits ? a.dlogits + row * a.ld : nullptr;
  if (target < 0 || target >= a.vocab) {
    a.loss[row] = 0;
    if (a.z) a.z[row] = 0;
    if (a.correct) a.correct[row] = 0;
    if (dx) std::memset(dx, 0, static_cast<size_t>(a.vocab) * sizeof(float));
    return;
  }
  const float top = row_max(x, a.vocab), own = x[target];
  if (a.correct) a.correct[row] = is_argmax(x, target, top);
  const double total = sum_of_exp(x, top, a.vocab, dx);
  const double lse = top + log(total);
  a.loss[row] = static_cast<float>(lse - own);
  if (a.z) a.z[row] = static_cast<float>(lse * lse);
  if (!dx) return;
  const float weight = a.weights ? a.weights[row] : 1.0f;
  const auto scale = static_cast<float>(weight * (1.0 + 2.0 * a.z_weight * lse) / total);
  const Vec factor = splat(scale);
  for_vectors(a.vocab,
              [&](int64_t i, int64_t n) { store_n(dx + i, load_n(dx + i, n) * factor, n); });
  dx[target] -= weight;
}

}  // namespace

void cross_entropy(const CrossEntropy& a) {
  parallel_for(a.rows, 8 * a.rows * a.vocab, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) loss_row(a, row);
  });
}

}  // namespace um::UM_ISA
