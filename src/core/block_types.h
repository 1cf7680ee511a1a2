// The element types of GGUF files ("ggml types"): plain numbers, and blocks of small integers with
// shared scales. Sizes, decoding to f32 and, for those that we write, encoding. Layouts:
// docs/formats.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace um {

/// The types we read, by their number in the file.
enum class BlockType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
  mxfp4 = 39,
};

/// How a block's scales and offsets are kept.
enum class BlockScales : uint8_t {
  f32,    ///< no narrower type holds them
  f16,    ///< each as an f16
  coded,  ///< integers of at most 8 bits times an f16 of the block (another for offsets)
};

struct BlockFormat {
  BlockType type;
  std::string_view name;  ///< as llama.cpp writes it: "Q4_K"
  size_t elements;        ///< in a block
  size_t bytes;           ///< of a block
  // Of types that keep integers (elements > 1):
  size_t group = 0;             ///< elements that share a scale
  int lowest = 0, highest = 0;  ///< integer
  bool offsets = false;         ///< groups have an offset beside the scale
  BlockScales scales = BlockScales::f32;
};

/// The format with this number; null for one that we cannot read.
const BlockFormat* find_block_format(uint32_t type);
/// The format of a type that we read.
const BlockFormat& block_format(BlockType type);
/// The format of this name in any case ("q8_0"). Throws Error listing the names.
const BlockFormat& block_format(std::string_view name);
/// What a number means, also of formats that we do not read ("IQ2_XS"); "type 99" if unknown.
std::string_view block_type_name(uint32_t type);
/// All names that we read, with commas.
std::string_view readable_block_types();

/// A block's elements in integers: element i is q[i] * scales[i / group], plus offsets[i / group]
/// where the type has offsets; both products and sums in f32.
struct BlockIntegers {
  std::array<int8_t, 256> q;
  std::array<float, 16> scales, offsets;
  float unit = 0, offset_unit = 0;  ///< of coded ones: each is an integer times this
};

/// The integers of one block of a type that keeps them. `source` need not be aligned.
void read_block(BlockType type, const std::byte* source, BlockIntegers& out);

/// Decodes `count` elements, whole blocks, to f32. `source` need not be aligned. Never throws. The
/// arithmetic is the reference's: products and sums in f32, in its order.
void decode_blocks(BlockType type, const std::byte* source, float* target, size_t count);

/// Encodes `count` elements, whole blocks: F32, F16, BF16, Q8_0, Q4_0 and Q4_K. Throws Error for
/// other types. Q8_0 and Q4_0 give the reference's bits; Q4_K searches for the scales of each 32
/// elements itself.
void encode_blocks(BlockType type, const float* source, std::byte* target, size_t count);
bool can_encode(BlockType type);

}  // namespace um
