// Rows that stay from one forward to the next (keys, values, MLA's latents), as f32 or as int8 with
// a scale per group of channels. No gradients here.
#pragma once

#include "core/tensor.h"
#include "kernels/args/int8_rows.h"

namespace um {

struct CacheRows {
  Tensor values;  ///< f32 or i8 [rows, width]
  Tensor scales;  ///< f32 [rows, int8_groups(width)] beside i8 values, else undefined

  /// New memory for `rows` rows of `width` channels in f32 or i8. Throws Error for other types.
  static CacheRows empty(Device& device, int64_t rows, int64_t width, DType dtype);
  /// Bytes of one row.
  static int64_t row_bytes(int64_t width, DType dtype);

  explicit operator bool() const { return values.defined(); }
  int64_t width() const { return values.cols(); }
  bool is_int8() const { return values.dtype() == DType::i8; }
  /// As kernels take int8 rows.
  Int8Rows int8() const;
};

/// cache[slots[t]] = from[t] for the rows of `from` [T, width]; slots i32.
void scatter_rows(const Tensor& from, const Tensor& slots, const CacheRows& cache);
/// The rows `slots` (i32) as a new f32 matrix.
Tensor gather_rows(const CacheRows& cache, const Tensor& slots);
/// Copies `count` rows within a cache, bit by bit.
void copy_rows(const CacheRows& cache, int64_t from, int64_t to, int64_t count);

}  // namespace um
