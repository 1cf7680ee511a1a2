// f32 rows in the nearest integers of a format.
#pragma once

#include <cstdint>

#include "ops/rows.h"

namespace um {

struct Kernels;

struct RoundOptions {
  /// [cols], null for ones: weighs the squared errors of channels, rotated ones where the format
  /// is. The mean squares of what they are multiplied with give the smallest error of the product,
  /// as far as channels do not go together.
  const float* importance = nullptr;
  bool search = true;  ///< false: at 4 bits, too, the scale follows from the largest magnitude
};

/// A row in integers of 4 or 8 bits (throws Error for formats that only files have), with scales as
/// the format keeps them. At 8 bits the scale is the largest magnitude / 127 (as f16 it may be off
/// by 1/4096: 0.03 steps); at 4 it is the one of smallest squared error that SSZ finds: from a few
/// scales on, least squares in turn with rounding. A group with a NaN or Inf becomes NaN.
RowCodes round_row(const Kernels& kernels, const float* x, int64_t cols, RowFormat format,
                   const RoundOptions& options = {});

}  // namespace um
