// How rows of numbers are stored: weights, experts, the KV cache and quantised activations all are
// rows in one of these formats. A new format is a RowType, its line in row_type_bits(), and what
// the kernels do with it (CONTRIBUTING.md, "A weight format").
#pragma once

#include <cstdint>

namespace um {

// Always inlined: kernels' files, which are compiled for one processor each, include this.
#define UM_INLINE __attribute__((always_inline))

enum class RowType : uint8_t {
  f32,
  bf16,
  i8,      ///< signed integers with f32 scales, row by row: activations and caches
  panel8,  ///< unsigned codes of 8 bits in panels: weights
  panel4,  ///< the same of 4 bits
};

/// Bits of one stored value.
UM_INLINE constexpr int64_t row_type_bits(RowType type) {
  switch (type) {
    case RowType::f32:
      return 32;
    case RowType::bf16:
      return 16;
    case RowType::i8:
    case RowType::panel8:
      return 8;
    case RowType::panel4:
      return 4;
  }
  return 0;
}

/// Rows of a panel, which lie together so that a kernel computes that many outputs at once: the
/// codes of four channels of a row, then of the next row; at 4 bits eight channels, the last four
/// in the high halves of the first four's bytes. 64 bytes hold 4 or 8 channels of a panel.
inline constexpr int64_t kPanelRows = 16;
/// Channels are padded to a multiple of this, rows of the last panel to a panel.
inline constexpr int64_t kPanelDepth = 32;
inline constexpr int64_t kWholeRow = int64_t{1} << 40;

/// A type with its scales. With q the stored integer, channel c of a row is
///   q * scale[c / group],                        codes of panels less their middle (128 or 8)
///   q * scale[c / group] + offset[c / group],    with `offsets`
struct RowFormat {
  RowType type = RowType::f32;
  int64_t group = 0;  ///< channels that share a scale; kWholeRow: all of them; 0: no scales
  bool half = false;  ///< scales and offsets are f16, else f32
  bool offsets = false;

  UM_INLINE constexpr bool operator==(const RowFormat&) const = default;
  UM_INLINE constexpr bool is_panels() const {
    return type == RowType::panel8 || type == RowType::panel4;
  }
  UM_INLINE constexpr bool has_scales() const { return group != 0; }
  /// Bytes of the values of a row of `cols` channels.
  UM_INLINE constexpr int64_t value_bytes(int64_t cols) const {
    if (is_panels()) cols = (cols + kPanelDepth - 1) / kPanelDepth * kPanelDepth;
    return (cols * row_type_bits(type) + 7) / 8;
  }
  /// Scales of a row of `cols` channels; its last group may be shorter.
  UM_INLINE constexpr int64_t scales(int64_t cols) const {
    if (group == 0 || cols == 0) return 0;
    return group >= cols ? 1 : (cols + group - 1) / group;
  }
  UM_INLINE constexpr int64_t scale_bytes() const { return half ? 2 : 4; }
  /// Bytes of a row with its scales.
  UM_INLINE constexpr int64_t row_bytes(int64_t cols) const {
    return value_bytes(cols) + (offsets ? 2 : 1) * scale_bytes() * scales(cols);
  }
  /// The middle of the range of panels' codes.
  UM_INLINE constexpr int32_t code_middle() const { return type == RowType::panel8 ? 128 : 8; }
  /// What is taken off a stored integer before it is scaled.
  UM_INLINE constexpr int32_t middle() const { return is_panels() && !offsets ? code_middle() : 0; }
};

/// Rows as panels hold them: whole panels.
UM_INLINE constexpr int64_t panel_rows(int64_t rows) {
  return (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
}
/// Whether panels may have a scale for so many channels.
UM_INLINE constexpr bool is_panel_group(int64_t group) {
  return group == kWholeRow || group == kPanelDepth / 2 || (group > 0 && group % kPanelDepth == 0);
}

/// Where row `row` of a matrix lies among the rows of its panels, when each `unit` of rows begins a
/// panel.
UM_INLINE constexpr int64_t panel_row(int64_t row, int64_t unit) {
  if (unit % kPanelRows == 0) return row;
  return row / unit * panel_rows(unit) + row % unit;
}
/// The byte of channel `col` in a panel's row `row` (0 … 15).
UM_INLINE constexpr int64_t panel_byte(RowType type, int64_t row, int64_t col) {
  const int64_t step = type == RowType::panel8 ? 4 : 8;
  return col / step * (4 * kPanelRows) + row * 4 + col % 4;
}
/// The code of channel `col` in that byte.
UM_INLINE constexpr uint8_t panel_code(RowType type, uint8_t byte, int64_t col) {
  if (type == RowType::panel8) return byte;
  return static_cast<uint8_t>(col % 8 < 4 ? byte & 15 : byte >> 4);
}

#undef UM_INLINE

inline constexpr RowFormat kF32Rows{RowType::f32};
inline constexpr RowFormat kBf16Rows{RowType::bf16};
/// Activations of int8 products, a scale per token; with weights in groups, a scale per group.
inline constexpr RowFormat kInt8Rows{RowType::i8, kWholeRow};
/// Keys, values and latents in an int8 cache.
inline constexpr RowFormat kInt8CacheRows{RowType::i8, 64};
/// Weights of W8A8: 8.25 bits. (A scale for a whole row loses ten times as much.)
inline constexpr RowFormat kW8Rows{RowType::panel8, 64, true};
/// Weights of W4A8: 4.5 bits.
inline constexpr RowFormat kW4Rows{RowType::panel4, 32, true};

}  // namespace um
