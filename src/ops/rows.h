// Rows: numbers in any row format with their scales. A model's matrices, its experts, what the KV
// cache keeps, and activations on their way into an int8 product all are Rows.
#pragma once

#include "core/tensor.h"
#include "kernels/args/row_format.h"
#include "kernels/args/rows_view.h"

namespace um {

struct Rows {
  Tensor values;  ///< f32, bf16 or i8 [..., cols]
  Tensor scales;  ///< f32 [rows, groups] where the format has scales, else undefined
  RowFormat format = {};

  Rows() = default;
  /// f32 and bf16 rows. Throws Error for a tensor of another type.
  Rows(const Tensor& plain);
  /// New memory, contents unspecified.
  static Rows empty(Device& device, Shape shape, RowFormat format);
  /// f32 rows [rows, cols] in `format`, which has scales.
  static Rows quantized(const Tensor& x, RowFormat format);

  explicit operator bool() const { return values.defined(); }
  int64_t rows() const { return values.rows(); }
  int64_t cols() const { return values.cols(); }
  Device& device() const { return values.device(); }
  bool is_int8() const { return format.type == RowType::i8; }
  /// Where the gradient of plain rows is gathered; null where none is wanted.
  GradSlot* slot() const { return values.slot(); }
  /// The values of rows that a gradient goes through. Throws Error for int8 ones.
  const Tensor& trained() const;
  int64_t bytes() const;
  /// The rows [begin, end), sharing memory; of stacked matrices counted through all of them.
  Rows row_range(int64_t begin, int64_t end) const;
  RowsView view() const;
  /// Puts `count` rows of f32 from `row` on into the format. Host memory; several threads may.
  void write(int64_t row, int64_t count, const float* from) const;
};

/// The format of weights and of cached rows kept in f32, bf16 or i8. Throws Error for other types.
RowFormat weight_format(DType dtype);
RowFormat cache_format(DType dtype);

/// to[slots[t]] = from[t] for the rows of `from` [T, cols]; slots i32. `to` is f32 or int8.
void scatter_rows(const Tensor& from, const Tensor& slots, const Rows& to);
/// The rows `slots` (i32) as a new f32 matrix.
Tensor gather_rows(const Rows& from, const Tensor& slots);
/// Copies `count` rows within `rows`, bit by bit.
void copy_rows(const Rows& rows, int64_t from, int64_t to, int64_t count);

}  // namespace um
