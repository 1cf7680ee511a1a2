// Rows of int8 groups or in bf16 to f32. Included only by kernels/cpu/isa/*.cc.
#pragma once

#include "kernels/args/int8_rows.h"
#include "kernels/cpu/isa/simd.h"

namespace um::UM_ISA {

/// to[0..width) = channels begin..begin+width of a row.
inline void widen_int8(const int8_t* values, const float* scales, int64_t begin, int64_t width,
                       float* to) {
  const int8_t* from = values + begin;
  for (int64_t c = 0; c < width;) {
    const int64_t group = (begin + c) / kInt8Group;
    const int64_t left = (group + 1) * kInt8Group - begin, end = left < width ? left : width;
    const Vec scale = splat(scales[group]);
    for (; c + kWidth <= end; c += kWidth) store(to + c, load(from + c) * scale);
    for (; c < end; c++) to[c] = static_cast<float>(from[c]) * scales[group];
  }
}

/// The same of a row in bf16.
inline void widen_bf16(const uint16_t* values, int64_t begin, int64_t width, float* to) {
  const uint16_t* from = values + begin;
  int64_t c = 0;
  for (; c + kWidth <= width; c += kWidth) store(to + c, load(from + c));
  if (c < width) store_part(to + c, load_part(from + c, width - c), width - c);
}

/// Channels begin..begin+width of the first row of a view in either format.
inline void widen_row(const RowsView& row, int64_t begin, int64_t width, float* to) {
  if (row.type() == RowType::bf16) {
    widen_bf16(row.bf16(), begin, width, to);
  } else {
    widen_int8(row.i8(), row.f32_scales(), begin, width, to);
  }
}

}  // namespace um::UM_ISA
