// Reading rows in any format, for the reference kernels.
#pragma once

#include <cmath>

#include "core/dtype.h"
#include "kernels/args/rows_view.h"

namespace um::ref {

inline float value_at(const RowsView& rows, int64_t row, int64_t col) {
  const RowsView from = rows.from_row(row);
  switch (from.type()) {
    case RowType::f32:
      return from.f32()[col];
    case RowType::bf16:
      return f32_from_bf16(from.bf16()[col]);
    case RowType::i8:
      return static_cast<float>(from.i8()[col]) *
             from.scales[from.format.group == kWholeRow ? 0 : col / from.format.group];
  }
  return 0;
}

/// Row `i` of a times row `j` of b over k channels, both int8 with a scale per row: the sum of the
/// integers is exact, and is rounded when it becomes a float.
inline float int8_product(const RowsView& a, int64_t i, const RowsView& b, int64_t j, int64_t k,
                          float bias) {
  const int8_t *x = a.from_row(i).i8(), *y = b.from_row(j).i8();
  int32_t sum = 0;
  for (int64_t l = 0; l < k; ++l) sum += int32_t{x[l]} * y[l];
  const float scale = a.scales[i * a.scale_stride] * b.scales[j * b.scale_stride];
  return std::fma(static_cast<float>(sum), scale, bias);
}

}  // namespace um::ref
