// Rows of int8 values with a scale per group of channels, and the arguments of packing f32 rows
// into them and back. kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// Channels of a row that share a scale; the last group of a row may be shorter.
inline constexpr int64_t kInt8Group = 64;
inline constexpr int64_t int8_groups(int64_t width) {
  return (width + kInt8Group - 1) / kInt8Group;
}

/// Channel c of row r is values[r*ld + c] * scales[r*ld_scales + c/kInt8Group].
struct Int8Rows {
  const int8_t* values = nullptr;
  int64_t ld = 0;
  const float* scales = nullptr;
  int64_t ld_scales = 0;
};

/// f32 rows to int8, row r to row slots[r]: scale = largest magnitude of a group / 127, values
/// rounded to the nearest, ties to even. A group with a NaN or Inf becomes NaN.
struct QuantizeRows {
  int64_t rows = 0, width = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const int32_t* slots = nullptr;  ///< [rows]; null: row r to row r
  int8_t* values = nullptr;
  int64_t ld_values = 0;
  float* scales = nullptr;
  int64_t ld_scales = 0;
};

/// The rows `slots` of x as f32.
struct DequantizeRows {
  int64_t rows = 0, width = 0;
  Int8Rows x = {};
  const int32_t* slots = nullptr;  ///< [rows]; null: row r is row r
  float* y = nullptr;
  int64_t ldy = 0;
};

}  // namespace um
