// Rotary position embedding (Su et al. 2021), reference. `inverse` is its own gradient.
#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {

void rope(const Rope& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const float* table = a.table + a.positions[row] * a.dim;
    for (int64_t head = 0; head < a.heads; ++head) {
      const float* x = a.x + row * a.ldx + head * a.head_dim;
      float* y = a.y + row * a.ldy + head * a.head_dim;
      for (int64_t i = 0; i < a.head_dim; ++i) {
        const bool rotated = i >= a.begin && i < a.begin + a.dim;
        if (!rotated) put(y + i, x[i], a.accumulate);
      }
      rope_row(x + a.begin, table, a.dim, a.interleave, a.inverse, y + a.begin, a.accumulate);
    }
  }
}

}  // namespace um::ref
