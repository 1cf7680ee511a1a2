// Softmax cross-entropy with z-loss and its gradient, reference.
#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace um::ref {
namespace {

// A row without a target (negative, or not in the vocabulary) counts for nothing.
void skip_row(const CrossEntropy& a, int64_t row) {
  a.loss[row] = 0;
  if (a.z) a.z[row] = 0;
  if (a.correct) a.correct[row] = 0;
  if (a.dlogits) std::fill_n(a.dlogits + row * a.ld, a.vocab, 0.0f);
}

}  // namespace

void cross_entropy(const CrossEntropy& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const int64_t target = a.targets[row];
    if (target < 0 || target >= a.vocab) {
      skip_row(a, row);
      continue;
    }
    const float* x = a.logits + row * a.ld;
    const float* best = std::max_element(x, x + a.vocab);
    double sum = 0;
    for (int64_t i = 0; i < a.vocab; ++i) sum += std::exp(static_cast<double>(x[i]) - *best);
    const double lse = *best + std::log(sum);
    a.loss[row] = static_cast<float>(lse - x[target]);
    if (a.z) a.z[row] = static_cast<float>(lse * lse);
    if (a.correct) a.correct[row] = best - x == target ? 1.0f : 0.0f;
    if (!a.dlogits) continue;
    const double weight = a.weights ? a.weights[row] : 1.0;
    const double scale = weight * (1.0 + 2.0 * a.z_weight * lse);
    for (int64_t i = 0; i < a.vocab; ++i) {
      const double softmax = std::exp(static_cast<double>(x[i]) - lse);
      const double onehot = i == target ? weight : 0.0;
      a.dlogits[row * a.ld + i] = static_cast<float>(scale * softmax - onehot);
    }
  }
}

}  // namespace um::ref
