// Rotation of rows by Hadamard's matrix, reference.
#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace um::ref {
namespace {

void rotate_block(float* x, int64_t n) {
  for (int64_t apart = 1; apart < n; apart *= 2)
    for (int64_t i = 0; i < n; ++i) {
      if ((i & apart) != 0) continue;
      const float a = x[i], b = x[i + apart];
      x[i] = a + b;
      x[i + apart] = a - b;
    }
  const float factor = 1 / std::sqrt(static_cast<float>(n));
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace

void rotate_rows(const RotateRows& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* x = args.x + row * args.ldx;
    float* y = args.y + row * args.ldy;
    if (x != y) std::copy_n(x, args.width, y);
    for (int64_t c = 0; c + args.block <= args.width; c += args.block)
      rotate_block(y + c, args.block);
  }
}

}  // namespace um::ref
