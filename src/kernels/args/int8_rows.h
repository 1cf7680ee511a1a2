// The arguments of packing f32 rows into int8 rows with scales or into bf16, and back. kernels.h
// has the rules and the shape legend.
#pragma once

#include <cstdint>

#include "kernels/args/rows_view.h"

namespace um {

/// Channels of a cached row that share a scale.
inline constexpr int64_t kInt8Group = kInt8CacheRows.group;
inline constexpr int64_t int8_groups(int64_t width) {
  return kInt8CacheRows.scales(width);
}

/// f32 rows to int8, row r to row slots[r]: scale = largest magnitude of a group / 127, values
/// rounded to the nearest, ties to even. A group with a NaN or Inf becomes NaN.
struct QuantizeRows {
  int64_t rows = 0, width = 0;
  int64_t group = kInt8Group;  ///< channels that share a scale; kWholeRow: all
  const float* x = nullptr;
  int64_t ldx = 0;
  const int32_t* slots = nullptr;  ///< [rows]; null: row r to row r
  int8_t* values = nullptr;
  int64_t ld_values = 0;
  float* scales = nullptr;
  int64_t ld_scales = 0;
};

/// f32 rows to bf16, row r to row slots[r], rounded to the nearest, ties to even; NaN stays NaN.
struct NarrowRows {
  int64_t rows = 0, width = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const int32_t* slots = nullptr;  ///< [rows]; null: row r to row r
  uint16_t* y = nullptr;
  int64_t ldy = 0;
};

/// The rows `slots` of x as f32.
struct DequantizeRows {
  int64_t rows = 0, width = 0;
  RowsView x = {};                 ///< of the format kBf16Rows or kInt8CacheRows
  const int32_t* slots = nullptr;  ///< [rows]; null: row r is row r
  float* y = nullptr;
  int64_t ldy = 0;
};

}  // namespace um
