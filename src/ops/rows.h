// Rows: numbers in any row format with their scales. A model's matrices, its experts, what the KV
// cache keeps, and activations on their way into an int8 product all are Rows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "kernels/args/row_format.h"
#include "kernels/args/rows_view.h"

namespace um {

/// A row in the integers of a format with scales.
struct RowCodes {
  std::vector<uint8_t> codes;          ///< one for each channel, as a panel keeps them
  std::vector<float> scales, offsets;  ///< one for each group; offsets where the format has them
  /// What coded ones are multiples of: one for each kCodedChannels channels, in f16's range.
  std::vector<float> units = {}, offset_units = {};
};

/// Makes a part of rows, which is called "values", "scales" or "offsets".
using RowPart = std::function<Tensor(const std::string& name, Shape shape, DType dtype)>;
/// In new memory: contents unspecified, but scales and offsets of panels are zeros, so that padding
/// is no number of its own.
RowPart new_parts(Device& device, const RowFormat& format);

struct Rows {
  Tensor values;   ///< f32, bf16 or i8 [..., cols]; of panels i8 [padded rows, bytes of a row]
  Tensor scales;   ///< f32, f16 or i8 [rows, scale_elements(cols)] where the format has scales
  Tensor offsets;  ///< likewise, where it has offsets
  RowFormat format = {};

  Rows() = default;
  /// f32 and bf16 rows. Throws Error for a tensor of another type.
  Rows(const Tensor& plain);
  /// New memory, contents unspecified. Of panels each `unit` of rows (0: all) begins a new one, so
  /// that a view or a range may begin there. Throws Error for a format that no kernel takes.
  static Rows empty(Device& device, Shape shape, RowFormat format, int64_t unit = 0);
  /// The same of parts that `part` gives.
  static Rows made(Shape shape, RowFormat format, int64_t unit, const RowPart& part);
  /// f32 rows [rows, cols] in i8 with scales, rotated where the format is.
  static Rows quantized(const Tensor& x, RowFormat format);

  explicit operator bool() const { return values.defined(); }
  int64_t rows() const { return format.is_panels() ? rows_ : values.rows(); }
  int64_t cols() const { return format.is_panels() ? cols_ : values.cols(); }
  Device& device() const { return values.device(); }
  bool is_int8() const { return format.type == RowType::i8; }
  /// Where the gradient of plain rows is gathered; null where none is wanted.
  GradSlot* slot() const { return values.slot(); }
  /// The values of rows that a gradient goes through. Throws Error for quantised ones.
  const Tensor& trained() const;
  int64_t bytes() const;
  /// The rows [begin, end), sharing memory; of stacked matrices counted through all of them.
  Rows row_range(int64_t begin, int64_t end) const;
  RowsView view() const;
  /// Puts `count` rows of f32 from `row` on into the format. Host memory; several threads may, with
  /// other rows.
  void write(int64_t row, int64_t count, const float* from) const;
  /// Whether a scale is infinite: values that are too large for f16 scales.
  bool overflown() const;
  /// Puts a row's integers, scales and offsets into panels. As `write`.
  void write_codes(int64_t row, const RowCodes& from) const;

 private:
  int64_t rows_ = 0, cols_ = 0, unit_ = 0;  // of panels
};

/// "f32", "w4a8": what `--dtype` and messages call a format of weights; formats that only files
/// have by their parts ("int4 in groups of 64").
std::string format_name(const RowFormat& format);
/// The format of weights, and of cached rows, in f32, bf16 or i8. Throws Error for other types.
RowFormat weight_format(DType dtype);
/// How activations are kept that are multiplied with weights of this format.
RowFormat activation_format(const RowFormat& weights);
RowFormat cache_format(DType dtype);
/// The type that --cache-dtype names ("f32", "bf16", "int8"); nothing for "auto".
std::optional<DType> cache_type_of(const std::string& name);
/// The option's name of a type: "int8" for i8.
std::string cache_type_name(DType dtype);

/// f32 rows times Hadamard's matrix by blocks of channels (kernels/args/rotate_rows.h), without
/// gradient; 0: as they are.
Tensor rotated(const Tensor& x, int64_t block);
/// The same in place.
void rotate(const Tensor& x, int64_t block);
/// to[slots[t]] = from[t] for the rows of `from` [T, cols]; slots i32. `to` is f32, bf16 or int8.
void scatter_rows(const Tensor& from, const Tensor& slots, const Rows& to);
/// The rows `slots` (i32) as a new f32 matrix.
Tensor gather_rows(const Rows& from, const Tensor& slots);
/// Copies `count` rows within `rows`, bit by bit.
void copy_rows(const Rows& rows, int64_t from, int64_t to, int64_t count);

}  // namespace um
