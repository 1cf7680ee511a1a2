// See cache_rows.h.
#include "ops/cache_rows.h"

#include "ops/launch.h"

namespace um {

CacheRows CacheRows::empty(Device& device, int64_t rows, int64_t width, DType dtype) {
  UM_CHECK(dtype == DType::f32 || dtype == DType::i8, "a cache in {}: expected f32 or i8",
           dtype_name(dtype));
  CacheRows cache{Tensor::empty(device, {rows, width}, dtype), {}};
  if (dtype == DType::i8) cache.scales = Tensor::empty(device, {rows, int8_groups(width)});
  return cache;
}

int64_t CacheRows::row_bytes(int64_t width, DType dtype) {
  const int64_t scales = dtype == DType::i8 ? 4 * int8_groups(width) : 0;
  return width * static_cast<int64_t>(dtype_size(dtype)) + scales;
}

Int8Rows CacheRows::int8() const {
  return {.values = values.data<int8_t>(),
          .ld = values.ld(),
          .scales = scales.f32(),
          .ld_scales = scales.ld()};
}

void scatter_rows(const Tensor& from, const Tensor& slots, const CacheRows& cache) {
  UM_CHECK(from.cols() == cache.width(), "{} into a cache of width {}", from.shape().text(),
           cache.width());
  if (cache.is_int8()) {
    launch(from.device(), QuantizeRows{.rows = slots.count(),
                                       .width = cache.width(),
                                       .x = from.f32(),
                                       .ldx = from.ld(),
                                       .slots = slots.i32(),
                                       .values = cache.values.data<int8_t>(),
                                       .ld_values = cache.values.ld(),
                                       .scales = cache.scales.f32(),
                                       .ld_scales = cache.scales.ld()});
    return;
  }
  launch(from.device(), CopyBlocks{.rows = slots.count(),
                                   .width = cache.width(),
                                   .x = from.f32(),
                                   .ldx = from.ld(),
                                   .y = cache.values.f32(),
                                   .ldy = cache.values.ld(),
                                   .rows_y = slots.i32()});
}

Tensor gather_rows(const CacheRows& cache, const Tensor& slots) {
  Device& device = cache.values.device();
  const Tensor rows = Tensor::empty(device, {slots.count(), cache.width()});
  if (cache.is_int8()) {
    launch(device, DequantizeRows{.rows = slots.count(),
                                  .width = cache.width(),
                                  .x = cache.int8(),
                                  .slots = slots.i32(),
                                  .y = rows.f32(),
                                  .ldy = rows.ld()});
    return rows;
  }
  launch(device, CopyBlocks{.rows = slots.count(),
                            .width = cache.width(),
                            .x = cache.values.f32(),
                            .ldx = cache.values.ld(),
                            .y = rows.f32(),
                            .ldy = rows.ld(),
                            .rows_x = slots.i32()});
  return rows;
}

void copy_rows(const CacheRows& cache, int64_t from, int64_t to, int64_t count) {
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
  copy(cache.values);
  if (cache.scales) copy(cache.scales);
}

}  // namespace um
