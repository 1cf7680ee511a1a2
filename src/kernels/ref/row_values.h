// Reading rows in any format, for the reference kernels.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "kernels/args/matmul.h"

namespace um::ref {

/// Scale or offset of the group of channel `col`.
inline float group_number(const RowsView& rows, const void* numbers, int64_t row, int64_t col) {
  const RowFormat& format = rows.format;
  const int64_t group = format.group == kWholeRow ? 0 : col / format.group;
  if (!format.is_panels())
    return static_cast<const float*>(numbers)[row * rows.scale_stride + group];
  row = panel_row(row, rows.unit);
  const int64_t in_panel = row % kPanelRows;
  const auto* panel = static_cast<const char*>(numbers) +
                      (row - in_panel) * rows.scale_stride * format.scale_bytes();
  const auto f32 = reinterpret_cast<const float*>(panel);
  const auto half = [&](int64_t at) {
    return f32_from_f16(reinterpret_cast<const uint16_t*>(panel)[at]);
  };
  switch (format.scale_type) {
    case ScaleType::f32:
      return f32[group * kPanelRows + in_panel];
    case ScaleType::f16:
      return half(group * kPanelRows + in_panel);
    case ScaleType::coded:
      return half(format.coded_unit(group) * kPanelRows / 2 + in_panel) *
             reinterpret_cast<const int8_t*>(
                 panel)[format.coded_number(group) * kPanelRows + in_panel];
  }
  return 0;
}

/// The stored integer of rows in i8 or panels.
inline int32_t integer_at(const RowsView& rows, int64_t row, int64_t col) {
  if (!rows.format.is_panels()) return rows.from_row(row).i8()[col];
  row = panel_row(row, rows.unit);
  const int64_t in_panel = row % kPanelRows;
  const uint8_t* panel = rows.codes() + (row - in_panel) * rows.row_bytes;
  return panel_code(rows.type(), panel, in_panel, col) - rows.format.middle();
}

inline float value_at(const RowsView& rows, int64_t row, int64_t col) {
  if (rows.type() == RowType::f32) return rows.from_row(row).f32()[col];
  if (rows.type() == RowType::bf16) return f32_from_bf16(rows.from_row(row).bf16()[col]);
  const auto q = static_cast<float>(integer_at(rows, row, col));
  const float value = q * group_number(rows, rows.scales, row, col);
  return rows.format.offsets ? value + group_number(rows, rows.offsets, row, col) : value;
}

/// The product of two operands, exact once they are rounded.
inline double rounded_product(Operands operands, float a, float b) {
  if (operands == Operands::bf16) {
    a = f32_from_bf16(bf16_from_f32(a));
    b = f32_from_bf16(bf16_from_f32(b));
  }
  return double{a} * double{b};
}

/// Row `i` of a, in i8, times row `j` of b, in panels, over k channels (um::Matmul). The sum of a
/// group's integers is exact, and is rounded when it becomes a float.
inline float integer_product(const RowsView& a, int64_t i, const RowsView& b, int64_t j, int64_t k,
                             float bias) {
  const int64_t step = std::min(a.format.group, b.format.group);
  float c = bias;
  for (int64_t begin = 0; begin < k; begin += std::min(step, k)) {
    int32_t sum = 0, sum_a = 0;
    for (int64_t l = begin; l < std::min(k, begin + std::min(step, k)); ++l) {
      sum += integer_at(a, i, l) * integer_at(b, j, l);
      sum_a += integer_at(a, i, l);
    }
    const float scale_a = group_number(a, a.scales, i, begin);
    c = std::fma(static_cast<float>(sum), scale_a * group_number(b, b.scales, j, begin), c);
    if (b.format.offsets)
      c = std::fma(static_cast<float>(sum_a) * scale_a, group_number(b, b.offsets, j, begin), c);
  }
  return c;
}

}  // namespace um::ref
