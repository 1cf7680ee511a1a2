// Rotary position embedding: a row's cosines and sines are loaded once for all heads.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

void copy_channels(const float* x, int64_t count, float* y, bool accumulate) {
  if (x == y && !accumulate) return;
  for_vectors(count, [&](int64_t i, int64_t n) { put_n(y + i, load_n(x + i, n), n, accumulate); });
}

}  // namespace

void rope(const Rope& a) {
  const int64_t end = a.begin + a.dim;
  parallel_for(a.rows, 2 * a.rows * a.heads * a.head_dim, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* x = a.x + row * a.ldx;
      float* y = a.y + row * a.ldy;
      for (int64_t h = 0; h < a.heads; ++h) {
        const int64_t at = h * a.head_dim;
        copy_channels(x + at, a.begin, y + at, a.accumulate);
        copy_channels(x + at + end, a.head_dim - end, y + at + end, a.accumulate);
      }
      rope_heads(x + a.begin, a.table + a.positions[row] * a.dim, a.heads, a.head_dim, a.dim,
                 a.interleave, a.inverse, y + a.begin, a.accumulate);
    }
  });
}

}  // namespace um::UM_ISA
