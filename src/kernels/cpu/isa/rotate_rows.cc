// Rotation of rows by Hadamard's matrix: within registers, then across them.
#include <cmath>

#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

/// A block of whole vectors, from x into y.
void rotate_block(const float* x, float* y, int64_t n, Vec factor) {
  for (int64_t c = 0; c < n; c += kWidth) store(y + c, rotate_lanes(load(x + c)));
  for (int64_t apart = kWidth; apart < n; apart *= 2)
    for (int64_t begin = 0; begin < n; begin += 2 * apart)
      for (int64_t c = begin; c < begin + apart; c += kWidth) {
        const Vec a = load(y + c), b = load(y + c + apart);
        store(y + c, a + b);
        store(y + c + apart, a - b);
      }
  for (int64_t c = 0; c < n; c += kWidth) store(y + c, load(y + c) * factor);
}

}  // namespace

void rotate_rows(const RotateRows& args) {
  if (args.block < kWidth) return ref::rotate_rows(args);
  const Vec factor = splat(1 / std::sqrt(static_cast<float>(args.block)));
  const int64_t rotated = args.width / args.block * args.block;
  parallel_for(args.rows, 8 * args.rows * args.width, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = args.x + r * args.ldx;
      float* y = args.y + r * args.ldy;
      for (int64_t c = 0; c < rotated; c += args.block)
        rotate_block(x + c, y + c, args.block, factor);
      if (x != y)
        std::memcpy(y + rotated, x + rotated,
                    static_cast<size_t>(args.width - rotated) * sizeof(float));
    }
  });
}

}  // namespace um::UM_ISA
