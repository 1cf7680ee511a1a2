// Embedding look-up and its gradient. The gradient is split by columns, so that each element is
// summed by one thread in the order of the tokens.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

static void copy_row(const RowsView& row, int64_t cols, float* y) {
  if (row.type() == RowType::f32) {
    std::memcpy(y, row.values, static_cast<size_t>(cols) * sizeof(float));
    return;
  }
  int64_t i = 0;
  if (row.type() == RowType::i8) {
    const float scale = row.scales[0];
    for (; i + kWidth <= cols; i += kWidth) store(y + i, load(row.i8() + i) * splat(scale));
    for (; i < cols; ++i) y[i] = static_cast<float>(row.i8()[i]) * scale;
    return;
  }
  const uint16_t* values = row.bf16();
  for (; i + kWidth <= cols; i += kWidth) store(y + i, load(values + i));
  store_part(y + i, load_part(values + i, cols - i), cols - i);
}

void embedding(const Embedding& a) {
  const auto bytes = static_cast<size_t>(a.cols) * sizeof(float);
  parallel_for(a.tokens, 2 * a.tokens * a.cols, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* y = a.y + t * a.cols;
      const int64_t id = a.ids[t];
      if (id < 0 || id >= a.vocab) {
        std::memset(y, 0, bytes);
      } else {
        copy_row(a.table.from_row(id), a.cols, y);
      }
    }
  });
}

void embedding_grad(const EmbeddingGrad& a) {
  if (!a.accumulate) {
    const int64_t count = a.vocab * a.cols;
    parallel_for(
        count, count,
        [&](int64_t begin, int64_t end) {
          std::memset(a.dtable + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
        },
        1024);
  }
  parallel_for(
      a.cols, 3 * a.tokens * a.cols,
      [&](int64_t begin, int64_t end) {
        for (int64_t t = 0; t < a.tokens; ++t) {
          const int64_t id = a.ids[t];
          if (id < 0 || id >= a.vocab) continue;
          float* to = a.dtable + id * a.cols + begin;
          const float* dy = a.dy + t * a.cols + begin;
          for_vectors(end - begin,
                      [&](int64_t i, int64_t n) { put_n(to + i, load_n(dy + i, n), n, true); });
        }
      },
      16);
}

}  // namespace um::UM_ISA
