// See rows.h.
#include "ops/rows.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/launch.h"
#include "ops/rounding.h"

namespace um {
namespace {

DType values_type(RowType type) {
  switch (type) {
    case RowType::f32:
      return DType::f32;
    case RowType::bf16:
      return DType::bf16;
    case RowType::i8:
    case RowType::panel8:
    case RowType::panel6:
    case RowType::panel5:
    case RowType::panel4:
      return DType::i8;
  }
  return DType::f32;
}

void check_panels(const RowFormat& format, int64_t rows, int64_t unit) {
  UM_CHECK(is_panel_group(format.group),
           "rows in panels with a scale for {} channels: expected 16, a multiple of 32, or one for "
           "the row",
           format.group);
  UM_CHECK(unit > 0 && rows % unit == 0, "{} rows in units of {}", rows, unit);
}

DType scales_type(ScaleType type) {
  if (type == ScaleType::f32) return DType::f32;
  return type == ScaleType::f16 ? DType::f16 : DType::i8;
}

/// Which multiple of `unit` a coded scale is. What is not finite stays so.
int8_t code_of(float scale, float unit) {
  if (unit == 0) return 0;
  const float code = scale / unit;
  return std::isfinite(code)
             ? static_cast<int8_t>(std::clamp(std::nearbyint(code), -128.0f, 127.0f))
             : int8_t{1};
}

/// The scales (or offsets) of row `row` of a panel, whose first element is at `panel`.
void put_numbers(const RowFormat& format, std::byte* panel, int64_t row,
                 const std::vector<float>& numbers, const std::vector<float>& units) {
  auto* f32 = reinterpret_cast<float*>(panel);
  auto* half = reinterpret_cast<uint16_t*>(panel);
  auto* byte = reinterpret_cast<int8_t*>(panel);
  for (int64_t g = 0; g < std::ssize(numbers); ++g) {
    const float number = numbers[static_cast<size_t>(g)];
    if (format.scale_type == ScaleType::f32) f32[g * kPanelRows + row] = number;
    if (format.scale_type == ScaleType::f16) half[g * kPanelRows + row] = f16_from_f32(number);
    if (format.scale_type != ScaleType::coded) continue;
    const float unit = units[static_cast<size_t>(g / format.coded_groups())];
    half[format.coded_unit(g) * kPanelRows / 2 + row] = f16_from_f32(unit);
    byte[format.coded_number(g) * kPanelRows + row] = code_of(number, unit);
  }
}

/// Row `row` of a step of a panel from its codes: four of 8 bits, or eight of fewer.
void put_step(RowType type, uint8_t* step, int64_t row, const uint8_t* codes) {
  uint8_t* low = step + row * 4;
  if (type == RowType::panel8) {
    std::copy_n(codes, 4, low);
    return;
  }
  const int64_t bits = panel_high_bits(type);
  uint32_t high = 0;
  for (int64_t i = 0; i < 8; ++i)
    high |= static_cast<uint32_t>(codes[i] >> 4) << panel_high_shift(bits, i);
  for (int64_t i = 0; i < 4; ++i)
    low[i] = static_cast<uint8_t>((codes[i] & 15) | codes[i + 4] << 4);
  for (int64_t i = 0; i < bits; ++i)
    step[4 * kPanelRows + row * bits + i] = static_cast<uint8_t>(high >> (8 * i));
}

/// The kernel that puts `count` f32 rows, `ld` elements apart, into `to`.
QuantizeRows quantize_into(const Rows& to, const float* from, int64_t ld, int64_t count,
                           const int32_t* slots = nullptr) {
  return {.rows = count,
          .width = to.cols(),
          .group = to.format.group,
          .x = from,
          .ldx = ld,
          .slots = slots,
          .values = to.values.data<int8_t>(),
          .ld_values = to.values.ld(),
          .scales = to.scales.f32(),
          .ld_scales = to.scales.ld()};
}

void rotate_into(const Tensor& y, const Tensor& x, int64_t block) {
  launch(x.device(), RotateRows{.rows = x.rows(),
                                .width = x.cols(),
                                .block = block,
                                .x = x.f32(),
                                .ldx = x.ld(),
                                .y = y.f32(),
                                .ldy = y.ld()});
}

}  // namespace

Rows::Rows(const Tensor& plain) : values(plain) {
  if (!plain) return;
  UM_CHECK(plain.dtype() == DType::f32 || plain.dtype() == DType::bf16,
           "rows of {} without scales: expected f32 or bf16", dtype_name(plain.dtype()));
  format = plain.dtype() == DType::bf16 ? kBf16Rows : kF32Rows;
}

RowPart new_parts(Device& device, const RowFormat& format) {
  return [&device, panels = format.is_panels()](const std::string& name, Shape shape, DType dtype) {
    return panels && name != "values" ? Tensor::zeros(device, shape, dtype)
                                      : Tensor::empty(device, shape, dtype);
  };
}

Rows Rows::empty(Device& device, Shape shape, RowFormat format, int64_t unit) {
  return made(shape, format, unit, new_parts(device, format));
}

Rows Rows::made(Shape shape, RowFormat format, int64_t unit, const RowPart& part) {
  Rows rows;
  rows.format = format;
  int64_t stored = 1;
  for (int i = 0; i + 1 < shape.rank(); ++i) stored *= shape[i];
  const int64_t cols = shape[-1];
  if (format.is_panels()) {
    rows.rows_ = stored;
    rows.cols_ = cols;
    rows.unit_ = unit > 0 ? unit : std::max<int64_t>(stored, 1);
    check_panels(format, stored, rows.unit_);
    stored = panel_rows(panel_row(stored, rows.unit_));
    shape = {stored, format.value_bytes(cols)};
  }
  rows.values = part("values", shape, values_type(format.type));
  const Shape scales{stored, format.scale_elements(cols)};
  const DType type = scales_type(format.scale_type);
  if (format.has_scales()) rows.scales = part("scales", scales, type);
  if (format.offsets) rows.offsets = part("offsets", scales, type);
  return rows;
}

Rows Rows::quantized(const Tensor& x, RowFormat format) {
  const Tensor from = rotated(x, format.rotation);
  Rows rows = empty(x.device(), {x.rows(), x.cols()}, format);
  launch(x.device(), quantize_into(rows, from.f32(), from.ld(), from.rows()));
  return rows;
}

const Tensor& Rows::trained() const {
  UM_CHECK(!format.has_scales(), "no gradient goes through {} weights; load them as f32",
           format_name(format));
  return values;
}

int64_t Rows::bytes() const {
  int64_t sum = 0;
  for (const Tensor* part : {&values, &scales, &offsets})
    if (*part) sum += static_cast<int64_t>(part->bytes());
  return sum;
}

Rows Rows::row_range(int64_t begin, int64_t end) const {
  Rows part = *this;
  if (format.is_panels()) {
    part.rows_ = end - begin;
    part.unit_ = std::min(unit_, std::max<int64_t>(part.rows_, 1));
    begin = panel_row(begin, unit_);
    end = begin + panel_rows(panel_row(part.rows_, unit_));
  }
  const auto cut = [&](Tensor& all) {
    if (all) all = all.reshape({all.rows(), all.cols()}).row_range(begin, end);
  };
  cut(part.values);
  cut(part.scales);
  cut(part.offsets);
  return part;
}

RowsView Rows::view() const {
  if (!format.has_scales()) return rows_view(values);
  RowsView view(values.data<int8_t>(), values.ld(), format, nullptr, scales.ld());
  view.scales = scales.raw();
  view.offsets = offsets ? offsets.raw() : nullptr;
  view.unit = unit_;
  return view;
}

bool Rows::overflown() const {
  if (format.scale_type != ScaleType::f16 || device().dry()) return false;
  const auto* halves = reinterpret_cast<const uint16_t*>(scales.raw());
  return std::any_of(halves, halves + scales.count(),
                     [](uint16_t bits) { return (bits & 0x7fff) == 0x7c00; });
}

void Rows::write_codes(int64_t row, const RowCodes& from) const {
  const int64_t stored = panel_row(row, unit_), in_panel = stored % kPanelRows;
  const int64_t first = stored - in_panel;
  auto* bytes = reinterpret_cast<uint8_t*>(values.data<int8_t>()) + first * values.ld();
  const int64_t all = format.value_bytes(cols_) * 8 / row_type_bits(format.type);
  const int64_t step = panel_step(format.type);
  for (int64_t c = 0; c < all; c += step, bytes += panel_step_bytes(format.type)) {
    std::array<uint8_t, 8> codes{};
    if (c < cols_) std::copy_n(from.codes.begin() + c, std::min(step, cols_ - c), codes.begin());
    put_step(format.type, bytes, in_panel, codes.data());
  }
  const int64_t panel = first * scales.ld() * format.scale_bytes();
  put_numbers(format, scales.raw() + panel, in_panel, from.scales, from.units);
  if (format.offsets)
    put_numbers(format, offsets.raw() + panel, in_panel, from.offsets, from.offset_units);
}

void Rows::write(int64_t row, int64_t count, const float* from) const {
  const auto elements = static_cast<size_t>(count * cols());
  switch (format.type) {
    case RowType::f32:
      std::copy_n(from, elements, row_range(row, row + count).values.f32());
      return;
    case RowType::bf16:
      return convert_from_f32(DType::bf16, from,
                              row_range(row, row + count).values.data<uint16_t>(), elements);
    case RowType::i8:
      device().kernels()->quantize_rows(
          quantize_into(row_range(row, row + count), from, cols(), count));
      return;
    case RowType::panel8:
    case RowType::panel6:
    case RowType::panel5:
    case RowType::panel4:
      for (int64_t r = 0; r < count; ++r)
        write_codes(row + r, round_row(*device().kernels(), from + r * cols(), cols(), format));
  }
}

std::string format_name(const RowFormat& format) {
  if (format == kF32Rows) return "f32";
  if (format == kBf16Rows) return "bf16";
  if (format == kW8Rows) return "w8a8";
  if (format == kW4Rows) return "w4a8";
  return fmt::format(
      "int{} {}{}{}", row_type_bits(format.type),
      format.group == kWholeRow ? "by rows" : fmt::format("in groups of {}", format.group),
      format.offsets ? " with offsets" : "",
      format.rotation > 0 ? fmt::format(" rotated by {}", format.rotation) : "");
}

RowFormat weight_format(DType dtype) {
  UM_CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::i8,
           "weights of type {}: expected f32, bf16 or i8", dtype_name(dtype));
  if (dtype == DType::i8) return kW8Rows;
  return dtype == DType::bf16 ? kBf16Rows : kF32Rows;
}

RowFormat activation_format(const RowFormat& weights) {
  RowFormat format = kInt8Rows;
  if (weights.group != kWholeRow) format.group = std::max(weights.group, kPanelDepth);
  format.rotation = weights.rotation;
  return format;
}

RowFormat cache_format(DType dtype) {
  UM_CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::i8,
           "a cache in {}: expected f32, bf16 or i8", dtype_name(dtype));
  if (dtype == DType::i8) return kInt8CacheRows;
  return dtype == DType::bf16 ? kBf16Rows : kF32Rows;
}

std::optional<DType> cache_type_of(const std::string& name) {
  if (name == "auto") return std::nullopt;
  return dtype_from_name(name);
}

std::string cache_type_name(DType dtype) {
  return dtype == DType::i8 ? "int8" : std::string(dtype_name(dtype));
}

void rotate(const Tensor& x, int64_t block) {
  if (block > 0) rotate_into(x, x, block);
}

Tensor rotated(const Tensor& x, int64_t block) {
  if (block == 0) return x;
  Tensor y = Tensor::empty(x.device(), {x.rows(), x.cols()});
  rotate_into(y, x, block);
  return y;
}

void scatter_rows(const Tensor& from, const Tensor& slots, const Rows& to) {
  UM_CHECK(from.cols() == to.cols(), "{} into rows of width {}", from.shape().text(), to.cols());
  if (to.is_int8()) {
    launch(from.device(), quantize_into(to, from.f32(), from.ld(), slots.count(), slots.i32()));
    return;
  }
  if (to.format == kBf16Rows) {
    launch(from.device(), NarrowRows{.rows = slots.count(),
                                     .width = to.cols(),
                                     .x = from.f32(),
                                     .ldx = from.ld(),
                                     .slots = slots.i32(),
                                     .y = to.values.data<uint16_t>(),
                                     .ldy = to.values.ld()});
    return;
  }
  launch(from.device(), CopyBlocks{.rows = slots.count(),
                                   .width = to.cols(),
                                   .x = from.f32(),
                                   .ldx = from.ld(),
                                   .y = to.values.f32(),
                                   .ldy = to.values.ld(),
                                   .rows_y = slots.i32()});
}

Tensor gather_rows(const Rows& from, const Tensor& slots) {
  Device& device = from.values.device();
  const Tensor rows = Tensor::empty(device, {slots.count(), from.cols()});
  if (from.format != kF32Rows) {
    launch(device, DequantizeRows{.rows = slots.count(),
                                  .width = from.cols(),
                                  .x = from.view(),
                                  .slots = slots.i32(),
                                  .y = rows.f32(),
                                  .ldy = rows.ld()});
    return rows;
  }
  launch(device, CopyBlocks{.rows = slots.count(),
                            .width = from.cols(),
                            .x = from.values.f32(),
                            .ldx = from.values.ld(),
                            .y = rows.f32(),
                            .ldy = rows.ld(),
                            .rows_x = slots.i32()});
  return rows;
}

void copy_rows(const Rows& rows, int64_t from, int64_t to, int64_t count) {
  const auto copy = [&](const Tensor& all) {
    const Tensor source = all.row_range(from, from + count);
    const Tensor target = all.row_range(to, to + count);
    launch(all.device(),
           CopyBlocks{.rows = count,
                      .width = all.cols(),
                      .x = source.raw(),
                      .ldx = all.ld(),
                      .y = target.raw(),
                      .ldy = all.ld(),
                      .element_bytes = static_cast<int64_t>(dtype_size(all.dtype()))});
  };
  copy(rows.values);
  if (rows.scales) copy(rows.scales);
}

}  // namespace um
