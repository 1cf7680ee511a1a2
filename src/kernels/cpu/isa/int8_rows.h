// Rows of int8 groups to f32. Included only by kernels/cpu/isa/*.cc.
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

}  // namespace um::UM_ISA
