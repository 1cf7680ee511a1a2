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
  panel6,  ///< the same of 6 bits,
  panel5,  ///< 5,
  panel4,  ///< and 4
};

/// How a scale or an offset is stored.
enum class ScaleType : uint8_t {
  f32,
  f16,
  coded,  ///< an int8 times an f16 that kCodedChannels channels of the row share
};
inline constexpr int64_t kCodedChannels = 256;

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
    case RowType::panel6:
      return 6;
    case RowType::panel5:
      return 5;
    case RowType::panel4:
      return 4;
  }
  return 0;
}

/// Rows of a panel, which lie together so that a kernel computes that many outputs at once, in
/// steps. A step of 8 bits is four channels: those of a row, then of the next row. A step of fewer
/// bits is eight: the lowest four bits of each, the last four channels in the high halves of the
/// first four's bytes; then the bits above, one or two bytes a row (panel_high_shift).
inline constexpr int64_t kPanelRows = 16;
/// Channels are padded to a multiple of this, rows of the last panel to a panel.
inline constexpr int64_t kPanelDepth = 32;
inline constexpr int64_t kWholeRow = int64_t{1} << 40;
inline constexpr int64_t kMaxRotation = int64_t{1} << 16;

/// A type with its scales. With q the stored integer, channel c of a row is
///   q * scale[c / group],                        codes of panels less their middle (128 or 8)
///   q * scale[c / group] + offset[c / group],    with `offsets`
/// With a rotation these are the channels of H·row, where H (Hadamard's matrix of Sylvester, by
/// blocks of so many channels, over the root of that number; kernels/args/rotate_rows.h) is its own
/// inverse: (H·w)·(H·x) = w·x, so that what meets such weights is rotated, too. An outlier among
/// the channels then costs all of its block a little and no group its precision.
struct RowFormat {
  RowType type = RowType::f32;
  int64_t group = 0;  ///< channels that share a scale; kWholeRow: all of them; 0: no scales
  ScaleType scale_type = ScaleType::f32;  ///< of scales and offsets
  bool offsets = false;
  int64_t rotation = 0;  ///< channels of a block of H, a power of two; 0: none

  UM_INLINE constexpr bool operator==(const RowFormat&) const = default;
  UM_INLINE constexpr bool is_panels() const { return type >= RowType::panel8; }
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
  /// Groups that share an f16, of coded scales.
  UM_INLINE constexpr int64_t coded_groups() const {
    return group < kCodedChannels ? kCodedChannels / group : 1;
  }
  /// What the scales of a row take, in elements of scale_bytes() each. Coded ones are bytes: for
  /// each 256 channels an f16, then the int8; of a panel the f16 of all rows, then group by group
  /// the int8 of all.
  UM_INLINE constexpr int64_t scale_elements(int64_t cols) const {
    const int64_t count = scales(cols);
    if (scale_type != ScaleType::coded) return count;
    return count + 2 * ((count + coded_groups() - 1) / coded_groups());
  }
  /// The elements of the f16 and of the int8 of a group's coded scale.
  UM_INLINE constexpr int64_t coded_unit(int64_t of_group) const {
    return of_group / coded_groups() * (2 + coded_groups());
  }
  UM_INLINE constexpr int64_t coded_number(int64_t of_group) const {
    return coded_unit(of_group) + 2 + of_group % coded_groups();
  }
  UM_INLINE constexpr int64_t scale_bytes() const {
    return scale_type == ScaleType::f32 ? 4 : scale_type == ScaleType::f16 ? 2 : 1;
  }
  /// Bytes of a row with its scales.
  UM_INLINE constexpr int64_t row_bytes(int64_t cols) const {
    return value_bytes(cols) + (offsets ? 2 : 1) * scale_bytes() * scale_elements(cols);
  }
  /// The middle of the range of panels' codes.
  UM_INLINE constexpr int32_t code_middle() const { return 1 << (row_type_bits(type) - 1); }
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
/// Whether blocks of so many channels may be rotated.
UM_INLINE constexpr bool is_rotation(int64_t block) {
  return block > 1 && block <= kMaxRotation && (block & (block - 1)) == 0;
}

/// Where row `row` of a matrix lies among the rows of its panels, when each `unit` of rows begins a
/// panel.
UM_INLINE constexpr int64_t panel_row(int64_t row, int64_t unit) {
  if (unit % kPanelRows == 0) return row;
  return row / unit * panel_rows(unit) + row % unit;
}
/// Channels and bytes of a step of a panel.
UM_INLINE constexpr int64_t panel_step(RowType type) {
  return type == RowType::panel8 ? 4 : 8;
}
/// Bits of a code above the lowest four, in a type of fewer than 8; also their bytes for a row.
UM_INLINE constexpr int64_t panel_high_bits(RowType type) {
  return type == RowType::panel8 ? 0 : row_type_bits(type) - 4;
}
UM_INLINE constexpr int64_t panel_step_bytes(RowType type) {
  return (4 + panel_high_bits(type)) * kPanelRows;
}
/// Where the high bits of channel `i` (0 … 7) of a step lie in those bytes, the first one lowest:
/// so that shifts and one mask put those of channels 0 … 3, and 4 … 7 above them, into four bytes.
UM_INLINE constexpr int64_t panel_high_shift(int64_t high_bits, int64_t i) {
  const int64_t place = high_bits == 1 ? i % 4 * 2 : i % 2 * 8 + i % 4 / 2 * 4;
  return place + i / 4 * high_bits;
}
/// The code of channel `col` in row `row` (0 … 15) of a panel.
UM_INLINE constexpr uint8_t panel_code(RowType type, const uint8_t* panel, int64_t row,
                                       int64_t col) {
  const uint8_t* step = panel + col / panel_step(type) * panel_step_bytes(type);
  const uint8_t low = step[row * 4 + col % 4];
  if (type == RowType::panel8) return low;
  const int64_t bits = panel_high_bits(type);
  const uint8_t* high = step + 4 * kPanelRows + row * bits;
  int32_t word = 0;
  for (int64_t i = 0; i < bits; ++i) word |= int32_t{high[i]} << (8 * i);
  const int32_t above = word >> panel_high_shift(bits, col % 8) & ((1 << bits) - 1);
  return static_cast<uint8_t>((col % 8 < 4 ? low & 15 : low >> 4) | above << 4);
}

/// The same numbers, for programs that do not rotate what they multiply with.
constexpr RowFormat without_rotation(RowFormat format) {
  format.rotation = 0;
  return format;
}

#undef UM_INLINE

inline constexpr RowFormat kF32Rows{RowType::f32};
inline constexpr RowFormat kBf16Rows{RowType::bf16};
/// Activations of int8 products, a scale per token; with weights in groups, a scale per group.
inline constexpr RowFormat kInt8Rows{RowType::i8, kWholeRow};
/// Keys, values and latents in an int8 cache.
inline constexpr RowFormat kInt8CacheRows{RowType::i8, 64};
/// Weights of W8A8: 8.25 bits. (Without the rotation three times the divergence, with a scale for a
/// whole row ten times as much: docs/quantization.md.)
inline constexpr RowFormat kW8Rows{RowType::panel8, 64, ScaleType::f16, false, 64};
/// Weights of W4A8: 4.5 bits.
inline constexpr RowFormat kW4Rows{RowType::panel4, 32, ScaleType::f16};

}  // namespace um
