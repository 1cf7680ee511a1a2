// Moving rows between token order and expert order, reference: a stable counting sort, the weighted
// sum of a token's experts, and the gradient of the gather that fed them.
#include <algorithm>
#include <vector>

#include "kernels/kernels.h"

namespace um::ref {

void moe_permute(const MoePermute& a) {
  const int64_t count = a.tokens * a.top_k;
  std::fill_n(a.offsets, a.experts + 1, 0);
  for (int64_t i = 0; i < count; ++i) ++a.offsets[a.ids[i] + 1];
  for (int64_t e = 0; e < a.experts; ++e) a.offsets[e + 1] += a.offsets[e];
  std::vector<int64_t> next(a.offsets, a.offsets + a.experts);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t slot = next[a.ids[i]]++;
    a.assignment[slot] = static_cast<int32_t>(i);
    a.token[slot] = static_cast<int32_t>(i / a.top_k);
    a.slot[i] = static_cast<int32_t>(slot);
  }
}

void moe_combine(const MoeCombine& a) {
  for (int64_t t = 0; t < a.tokens; ++t) {
    for (int64_t i = 0; i < a.cols; ++i) {
      double sum = a.base ? a.base[t * a.cols + i] : 0.0;
      for (int64_t k = 0; k < a.top_k; ++k) {
        const int64_t slot = a.slot[t * a.top_k + k];
        sum += static_cast<double>(a.weights[t * a.top_k + k]) * a.y[slot * a.cols + i];
      }
      a.out[t * a.cols + i] = static_cast<float>(sum);
    }
  }
}

void moe_scatter(const MoeScatter& a) {
  for (int64_t t = 0; t < a.tokens; ++t) {
    for (int64_t i = 0; i < a.cols; ++i) {
      double sum = a.accumulate ? a.dx[t * a.cols + i] : 0.0;
      for (int64_t k = 0; k < a.top_k; ++k) {
        sum += a.dslots[a.slot[t * a.top_k + k] * a.cols + i];
      }
      a.dx[t * a.cols + i] = static_cast<float>(sum);
    }
  }
}

}  // namespace um::ref
