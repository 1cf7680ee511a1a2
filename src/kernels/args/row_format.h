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
  i8,  ///< signed integers with f32 scales
};

/// Bits of one stored value.
UM_INLINE constexpr int64_t row_type_bits(RowType type) {
  switch (type) {
    case RowType::f32:
      return 32;
    case RowType::bf16:
      return 16;
    case RowType::i8:
      return 8;
  }
  return 0;
}

/// A type with its scales. Channel c of a row is value[c] * scale[c / group].
struct RowFormat {
  RowType type = RowType::f32;
  int64_t group = 0;  ///< channels that share a scale; kWholeRow: all of them; 0: no scales

  UM_INLINE constexpr bool has_scales() const { return group != 0; }
  /// Bytes of the values of a row of `cols` channels.
  UM_INLINE constexpr int64_t value_bytes(int64_t cols) const {
    return (cols * row_type_bits(type) + 7) / 8;
  }
  /// Scales of a row of `cols` channels; its last group may be shorter.
  UM_INLINE constexpr int64_t scales(int64_t cols) const {
    if (group == 0 || cols == 0) return 0;
    return group >= cols ? 1 : (cols + group - 1) / group;
  }
  /// Bytes of a row with its scales.
  UM_INLINE constexpr int64_t row_bytes(int64_t cols) const {
    return value_bytes(cols) + 4 * scales(cols);
  }
};

#undef UM_INLINE

inline constexpr int64_t kWholeRow = int64_t{1} << 40;

inline constexpr RowFormat kF32Rows{RowType::f32, 0};
inline constexpr RowFormat kBf16Rows{RowType::bf16, 0};
/// Weights (a scale per output channel) and activations (a scale per token) of int8 products.
inline constexpr RowFormat kInt8Rows{RowType::i8, kWholeRow};
/// Keys, values and latents in an int8 cache.
inline constexpr RowFormat kInt8CacheRows{RowType::i8, 64};

}  // namespace um
