// See rows.h.
#include "ops/rows.h"

#include <algorithm>

#include "ops/launch.h"

namespace um {
namespace {

DType values_type(RowType type) {
  switch (type) {
    case RowType::f32:
      return DType::f32;
    case RowType::bf16:
      return DType::bf16;
    case RowType::i8:
      return DType::i8;
  }
  return DType::f32;
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

}  // namespace

Rows::Rows(const Tensor& plain) : values(plain) {
  if (!plain) return;
  UM_CHECK(plain.dtype() == DType::f32 || plain.dtype() == DType::bf16,
           "rows of {} without scales: expected f32 or bf16", dtype_name(plain.dtype()));
  format = plain.dtype() == DType::bf16 ? kBf16Rows : kF32Rows;
}

Rows Rows::empty(Device& device, Shape shape, RowFormat format) {
  Rows rows;
  rows.values = Tensor::empty(device, shape, values_type(format.type));
  rows.format = format;
  if (format.has_scales())
    rows.scales = Tensor::empty(device, {rows.rows(), format.scales(rows.cols())});
  return rows;
}

Rows Rows::quantized(const Tensor& x, RowFormat format) {
  Rows rows = empty(x.device(), {x.rows(), x.cols()}, format);
  launch(x.device(), quantize_into(rows, x.f32(), x.ld(), x.rows()));
  return rows;
}

const Tensor& Rows::trained() const {
  UM_CHECK(!is_int8(), "no gradient goes through int8 weights; load them as f32");
  return values;
}

int64_t Rows::bytes() const {
  return static_cast<int64_t>(values.bytes() + (scales ? scales.bytes() : 0));
}

Rows Rows::row_range(int64_t begin, int64_t end) const {
  Rows part = *this;
  part.values = values.reshape({rows(), cols()}).row_range(begin, end);
  if (scales) part.scales = scales.row_range(begin, end);
  return part;
}

RowsView Rows::view() const {
  if (!is_int8()) return rows_view(values);
  return {values.data<int8_t>(), values.ld(), format, scales.f32(), scales.ld()};
}

void Rows::write(int64_t row, int64_t count, const float* from) const {
  const Rows to = row_range(row, row + count);
  const auto elements = static_cast<size_t>(count * cols());
  switch (format.type) {
    case RowType::f32:
      std::copy_n(from, elements, to.values.f32());
      return;
    case RowType::bf16:
      return convert_from_f32(DType::bf16, from, to.values.data<uint16_t>(), elements);
    case RowType::i8:
      device().kernels()->quantize_rows(quantize_into(to, from, cols(), count));
  }
}

RowFormat weight_format(DType dtype) {
  UM_CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::i8,
           "weights of type {}: expected f32, bf16 or i8", dtype_name(dtype));
  if (dtype == DType::i8) return kInt8Rows;
  return dtype == DType::bf16 ? kBf16Rows : kF32Rows;
}

RowFormat cache_format(DType dtype) {
  UM_CHECK(dtype == DType::f32 || dtype == DType::i8, "a cache in {}: expected f32 or i8",
           dtype_name(dtype));
  return dtype == DType::i8 ? kInt8CacheRows : kF32Rows;
}

void scatter_rows(const Tensor& from, const Tensor& slots, const Rows& to) {
  UM_CHECK(from.cols() == to.cols(), "{} into rows of width {}", from.shape().text(), to.cols());
  if (to.is_int8()) {
    launch(from.device(), quantize_into(to, from.f32(), from.ld(), slots.count(), slots.i32()));
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
  if (from.is_int8()) {
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
    const bool int8 = all.dtype() == DType::i8;
    const void* x = int8 ? static_cast<const void*>(source.data<int8_t>()) : source.f32();
    void* y = int8 ? static_cast<void*>(target.data<int8_t>()) : target.f32();
    launch(all.device(),
           CopyBlocks{.rows = count,
                      .width = all.cols(),
                      .x = x,
                      .ldx = all.ld(),
                      .y = y,
                      .ldy = all.ld(),
                      .element_bytes = static_cast<int64_t>(dtype_size(all.dtype()))});
  };
  copy(rows.values);
  if (rows.scales) copy(rows.scales);
}

}  // namespace um
