// Embedding look-up and its gradient, reference.
#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/ref/row_values.h"

namespace um::ref {

void embedding(const Embedding& a) {
  for (int64_t t = 0; t < a.tokens; ++t) {
    float* y = a.y + t * a.cols;
    const int64_t id = a.ids[t];
    if (id < 0 || id >= a.vocab) {
      std::fill_n(y, a.cols, 0.0f);
    } else {
      for (int64_t i = 0; i < a.cols; ++i) y[i] = value_at(a.table, id, i);
    }
  }
}

void embedding_grad(const EmbeddingGrad& a) {
  if (!a.accumulate) std::fill_n(a.dtable, a.vocab * a.cols, 0.0f);
  for (int64_t t = 0; t < a.tokens; ++t) {
    const int64_t id = a.ids[t];
    if (id < 0 || id >= a.vocab) continue;
    for (int64_t i = 0; i < a.cols; ++i) a.dtable[id * a.cols + i] += a.dy[t * a.cols + i];
  }
}

}  // namespace um::ref
