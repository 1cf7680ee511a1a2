// Rows in int8 groups and in bf16: packing and unpacking, as kernels/args/int8_rows.h defines them.
#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "kernels/kernels.h"
#include "kernels/ref/row_values.h"

namespace um::ref {
namespace {

void quantize_group(const float* x, int64_t width, int8_t* values, float* scale) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < width; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  *scale = finite ? largest / 127.0f : NAN;
  // (The largest may be so small that its inverse is infinite: such a group becomes zero.)
  const float inverse = largest >= 1e-35f ? 127.0f / largest : 0.0f;
  for (int64_t i = 0; i < width; ++i)
    values[i] = finite ? static_cast<int8_t>(std::nearbyint(x[i] * inverse)) : int8_t{0};
}

}  // namespace

void quantize_rows(const QuantizeRows& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    const int64_t to = args.slots ? args.slots[row] : row;
    for (int64_t c = 0; c < args.width; c += args.group)
      quantize_group(args.x + row * args.ldx + c, std::min(args.group, args.width - c),
                     args.values + to * args.ld_values + c,
                     args.scales + to * args.ld_scales + c / args.group);
  }
}

void narrow_rows(const NarrowRows& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    const int64_t to = args.slots ? args.slots[row] : row;
    for (int64_t c = 0; c < args.width; ++c)
      args.y[to * args.ldy + c] = bf16_from_f32(args.x[row * args.ldx + c]);
  }
}

void dequantize_rows(const DequantizeRows& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    const int64_t from = args.slots ? args.slots[row] : row;
    for (int64_t c = 0; c < args.width; ++c) args.y[row * args.ldy + c] = value_at(args.x, from, c);
  }
}

}  // namespace um::ref
