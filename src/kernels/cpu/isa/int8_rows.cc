// Packing f32 rows into int8 groups or bf16 and back.
#include "kernels/cpu/isa/int8_rows.h"

#include <cmath>

#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

/// A group of whole vectors with finite values; else the reference does it.
bool quantize_group(const float* x, int64_t width, int8_t* values, float* scale) {
  const Vec zero = splat(0.0f);
  Vec top = zero, check = zero;
  for (int64_t c = 0; c < width; c += kWidth) {
    const Vec v = load(x + c);
    top = max(top, max(v, zero - v));
    check = fma(v, zero, check);  // zero, or NaN where a value is not finite
  }
  const float largest = max_lane(top);
  if (!(sum(check) == 0.0f) || largest < 1e-35f) return false;
  *scale = largest / 127.0f;
  const Vec inverse = splat(127.0f / largest);
  for (int64_t c = 0; c < width; c += kWidth) store(values + c, load(x + c) * inverse);
  return true;
}

void quantize_row(const float* x, int64_t width, int64_t group, int8_t* values, float* scales) {
  for (int64_t c = 0; c < width; c += group, ++scales) {
    const int64_t here = width - c < group ? width - c : group;
    if (here % kWidth == 0 && quantize_group(x + c, here, values + c, scales)) continue;
    ref::quantize_rows({.rows = 1,
                        .width = here,
                        .group = here,
                        .x = x + c,
                        .values = values + c,
                        .scales = scales});
  }
}

/// A row to bf16. (Plain, because compilers vectorise it.)
void narrow_row(const float* x, int64_t width, uint16_t* y) {
  for (int64_t c = 0; c < width; c++) {
    uint32_t bits;
    std::memcpy(&bits, x + c, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    y[c] = static_cast<uint16_t>((nan ? bits | 0x400000 : rounded) >> 16);
  }
}

}  // namespace

void quantize_rows(const QuantizeRows& args) {
  parallel_for(args.rows, args.rows * args.width, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t to = args.slots ? args.slots[r] : r;
      quantize_row(args.x + r * args.ldx, args.width, args.group, args.values + to * args.ld_values,
                   args.scales + to * args.ld_scales);
    }
  });
}

void narrow_rows(const NarrowRows& args) {
  parallel_for(args.rows, args.rows * args.width, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t to = args.slots ? args.slots[r] : r;
      narrow_row(args.x + r * args.ldx, args.width, args.y + to * args.ldy);
    }
  });
}

void dequantize_rows(const DequantizeRows& args) {
  parallel_for(args.rows, args.rows * args.width, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t from = args.slots ? args.slots[r] : r;
      widen_row(args.x.from_row(from), 0, args.width, args.y + r * args.ldy);
    }
  });
}

}  // namespace um::UM_ISA
