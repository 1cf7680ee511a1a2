// How kernels see rows of numbers in any format (kernels/args/row_format.h).
#pragma once

#include <cstdint>

#include "kernels/args/row_format.h"

namespace um {

/// Rows that a kernel reads: where they begin, how far they are apart, and their format. Steps go
/// by rows, because a format may pack several values into a byte. Always inlined, because the
/// kernels' files are compiled for processors that the rest of the program need not run on.
struct RowsView {
#define UM_INLINE __attribute__((always_inline))
  const void* values = nullptr;
  int64_t row_bytes = 0;  ///< from row to row
  RowFormat format = {};
  const void* scales = nullptr;   ///< [rows, scale_stride] where the format has scales; of panels
                                  ///< [panels, scale_stride, kPanelRows]
  const void* offsets = nullptr;  ///< likewise
  int64_t scale_stride = 0;       ///< elements of the format's scale_bytes()
  int64_t unit = 0;               ///< of panels: rows that begin a new one (panel_row)

  UM_INLINE RowsView() {}
  /// f32 and bf16 rows, `ld` elements apart.
  UM_INLINE RowsView(const float* p, int64_t ld) : values(p), row_bytes(ld * 4) {}
  UM_INLINE RowsView(const uint16_t* p, int64_t ld)
      : values(p), row_bytes(ld * 2), format(kBf16Rows) {}
  /// int8 rows, `ld` elements apart, with a scale per group of channels.
  UM_INLINE RowsView(const int8_t* p, int64_t ld, RowFormat format, const float* scales,
                     int64_t scale_stride)
      : values(p), row_bytes(ld), format(format), scales(scales), scale_stride(scale_stride) {}

  UM_INLINE RowType type() const {
    return format.type;
  }
  /// The values; call the one that type() says.
  UM_INLINE const float* f32() const {
    return static_cast<const float*>(values);
  }
  UM_INLINE const uint16_t* bf16() const {
    return static_cast<const uint16_t*>(values);
  }
  UM_INLINE const int8_t* i8() const {
    return static_cast<const int8_t*>(values);
  }
  UM_INLINE const uint8_t* codes() const {
    return static_cast<const uint8_t*>(values);
  }
  UM_INLINE const float* f32_scales() const {
    return static_cast<const float*>(scales);
  }
  /// Elements from row to row, of types of whole bytes.
  UM_INLINE int64_t ld() const {
    return row_bytes * 8 / row_type_bits(format.type);
  }

  /// The rows from `row` on, of panels the first of one; null stays null (a dry device).
  UM_INLINE RowsView from_row(int64_t row) const {
    if (format.is_panels()) row = panel_row(row, unit);
    const auto moved_by = [](const void* p, int64_t bytes) -> const void* {
      return p == nullptr ? p : static_cast<const char*>(p) + bytes;
    };
    RowsView moved = *this;
    moved.values = moved_by(values, row * row_bytes);
    moved.scales = moved_by(scales, row * scale_stride * format.scale_bytes());
    moved.offsets = moved_by(offsets, row * scale_stride * format.scale_bytes());
    return moved;
  }
#undef UM_INLINE
};

}  // namespace um
