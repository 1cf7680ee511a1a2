// The table of types and their decoding; see block_types.h.
#include "core/block_types.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>

#include "core/dtype.h"
#include "core/error.h"

namespace um {
namespace {

constexpr bool kOffsets = true;
constexpr BlockScales kHalf = BlockScales::f16, kCoded = BlockScales::coded;
constexpr std::array<BlockFormat, 16> kFormats{{
    {BlockType::f32, "F32", 1, 4},
    {BlockType::f16, "F16", 1, 2},
    {BlockType::q4_0, "Q4_0", 32, 18, 32, -8, 7, !kOffsets, kHalf},
    {BlockType::q4_1, "Q4_1", 32, 20, 32, 0, 15, kOffsets, kHalf},
    {BlockType::q5_0, "Q5_0", 32, 22, 32, -16, 15, !kOffsets, kHalf},
    {BlockType::q5_1, "Q5_1", 32, 24, 32, 0, 31, kOffsets, kHalf},
    {BlockType::q8_0, "Q8_0", 32, 34, 32, -128, 127, !kOffsets, kHalf},
    {BlockType::q2_k, "Q2_K", 256, 84, 16, 0, 3, kOffsets, kCoded},
    {BlockType::q3_k, "Q3_K", 256, 110, 16, -4, 3, !kOffsets, kCoded},
    {BlockType::q4_k, "Q4_K", 256, 144, 32, 0, 15, kOffsets, kCoded},
    {BlockType::q5_k, "Q5_K", 256, 176, 32, 0, 31, kOffsets, kCoded},
    {BlockType::q6_k, "Q6_K", 256, 210, 16, -32, 31, !kOffsets, kCoded},
    {BlockType::iq4_nl, "IQ4_NL", 32, 18, 32, -127, 113, !kOffsets, kHalf},
    {BlockType::iq4_xs, "IQ4_XS", 256, 136, 32, -127, 113, !kOffsets, kCoded},
    {BlockType::bf16, "BF16", 1, 2},
    {BlockType::mxfp4, "MXFP4", 32, 17, 32, -12, 12, !kOffsets},
}};

/// Names by number, empty where the number is not in use.
constexpr std::array<std::string_view, 43> kNames{
    "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
    "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
    "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
    "",        "",      "",       "MXFP4", "NVFP4", "Q1_0",   "Q2_0"};

using Bytes = const uint8_t*;

float half_at(Bytes at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return f32_from_f16(bits);
}

int8_t small(int value) {
  return static_cast<int8_t>(value);
}

// Legacy blocks of 32: element i < 16 is the low nibble of byte i, element 16 + i the high one.

void read_nibbles(Bytes in, int less, int8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = small((in[i] & 15) - less);
    q[i + 16] = small((in[i] >> 4) - less);
  }
}

void read_q4_0(Bytes in, BlockIntegers& out) {
  out.scales[0] = half_at(in);
  read_nibbles(in + 2, 8, out.q.data());
}

void read_q4_1(Bytes in, BlockIntegers& out) {
  out.scales[0] = half_at(in);
  out.offsets[0] = half_at(in + 2);
  read_nibbles(in + 4, 0, out.q.data());
}

/// The fifth bits of 32 elements lie together before their nibbles.
void read_five_bits(Bytes in, int less, int8_t* q) {
  uint32_t high;
  std::memcpy(&high, in, sizeof high);
  read_nibbles(in + 4, less, q);
  for (int i = 0; i < 32; ++i) q[i] = small(q[i] + static_cast<int>((high >> i & 1) << 4));
}

void read_q5_0(Bytes in, BlockIntegers& out) {
  out.scales[0] = half_at(in);
  read_five_bits(in + 2, 16, out.q.data());
}

void read_q5_1(Bytes in, BlockIntegers& out) {
  out.scales[0] = half_at(in);
  out.offsets[0] = half_at(in + 2);
  read_five_bits(in + 4, 0, out.q.data());
}

void read_q8_0(Bytes in, BlockIntegers& out) {
  out.scales[0] = half_at(in);
  std::memcpy(out.q.data(), in + 2, 32);
}

// K-quants: 256 elements in sub-blocks of 16 or 32, whose scales are small integers themselves.

/// scales[16] | qs[64] | d | dmin. Each half of 128 elements takes 32 bytes, two bits at a time.
void read_q2_k(Bytes in, BlockIntegers& out) {
  const Bytes scales = in, qs = in + 16;
  out.unit = half_at(in + 80);
  out.offset_unit = -half_at(in + 82);
  for (size_t j = 0; j < 16; ++j) {
    out.scales[j] = out.unit * static_cast<float>(scales[j] & 15);
    out.offsets[j] = out.offset_unit * static_cast<float>(scales[j] >> 4);
  }
  for (size_t i = 0; i < 256; ++i)
    out.q[i] = small(qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3);
}

/// hmask[32] | qs[64] | scales[12] | d. A scale's low four bits are in bytes 0-7, the high two in
/// bytes 8-11; a bit of hmask that is not set takes 4 away.
void read_q3_k(Bytes in, BlockIntegers& out) {
  const Bytes hmask = in, qs = in + 32, packed = in + 96;
  out.unit = half_at(in + 108);
  for (size_t j = 0; j < 16; ++j) {
    const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
    const int high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
    out.scales[j] = out.unit * static_cast<float>((low | high << 4) - 32);
  }
  for (size_t i = 0; i < 256; ++i) {
    const int low = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int high = hmask[i % 32] >> (i / 32) & 1;
    out.q[i] = small(low - (high != 0 ? 0 : 4));
  }
}

/// Scale and minimum of sub-block j in the 12 bytes that Q4_K and Q5_K share: six bits each.
void scale_min(Bytes s, size_t j, int& scale, int& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    min = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

/// d | dmin | scales[12] | qs[128]: 64 elements to 32 bytes, low nibbles first. Q5_K has qh[32]
/// before qs, a bit plane for each sub-block.
void read_q4_or_q5_k(Bytes in, Bytes high, Bytes qs, BlockIntegers& out) {
  out.unit = half_at(in);
  out.offset_unit = -half_at(in + 2);
  for (size_t j = 0; j < 8; ++j) {
    int scale = 0, min = 0;
    scale_min(in + 4, j, scale, min);
    out.scales[j] = out.unit * static_cast<float>(scale);
    out.offsets[j] = out.offset_unit * static_cast<float>(min);
    for (size_t l = 0; l < 32; ++l) {
      const uint8_t both = qs[j / 2 * 32 + l];
      int q = j % 2 == 0 ? both & 15 : both >> 4;
      if (high != nullptr) q |= (high[l] >> j & 1) << 4;
      out.q[j * 32 + l] = small(q);
    }
  }
}

/// ql[128] | qh[64] | scales[16] | d, in two halves of 128 elements.
void read_q6_k(Bytes in, BlockIntegers& out) {
  out.unit = half_at(in + 208);
  for (size_t j = 0; j < 16; ++j)
    out.scales[j] = out.unit * static_cast<float>(static_cast<int8_t>(in[192 + j]));
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128, quarter = i % 128 / 32, l = i % 32;
    const uint8_t both = in[half * 64 + quarter % 2 * 32 + l];
    const int low = quarter < 2 ? both & 15 : both >> 4;
    const int high = in[128 + half * 32 + l] >> (quarter * 2) & 3;
    out.q[i] = small((low | high << 4) - 32);
  }
}

// Four bits that are the number of a value, 32 elements in the order of the legacy blocks.

using Values = std::array<int8_t, 16>;

/// More of them near zero.
constexpr Values kNonLinear{-127, -104, -83, -65, -49, -35, -22, -10,
                            1,    13,   25,  38,  53,  69,  89,  113};
/// Twice E2M1; the second zero has no sign.
constexpr Values kTwiceE2m1{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void read_values(const Values& values, Bytes in, int8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = values[size_t{in[i]} & 15];
    q[i + 16] = values[size_t{in[i]} >> 4];
  }
}

void read_iq4_nl(Bytes in, BlockIntegers& out) {
  out.scales[0] = half_at(in);
  read_values(kNonLinear, in + 2, out.q.data());
}

/// d | high bits of the scales | low bits | qs[128]: sub-blocks of 32 with scales of six bits.
void read_iq4_xs(Bytes in, BlockIntegers& out) {
  out.unit = half_at(in);
  const int highs = in[2] | in[3] << 8;
  for (size_t j = 0; j < 8; ++j) {
    const int low = in[4 + j / 2] >> (j % 2 * 4) & 15, high = highs >> (2 * j) & 3;
    out.scales[j] = out.unit * static_cast<float>((low | high << 4) - 32);
    read_values(kNonLinear, in + 8 + 16 * j, out.q.data() + 32 * j);
  }
}

/// The scale is a power of two (E8M0).
void read_mxfp4(Bytes in, BlockIntegers& out) {
  out.scales[0] = std::ldexp(1.0F, in[0] - 128);
  read_values(kTwiceE2m1, in + 1, out.q.data());
}

void decode_block(const BlockFormat& format, const BlockIntegers& block, float* out) {
  for (size_t g = 0; g < format.elements / format.group; ++g) {
    const float scale = block.scales[g], offset = block.offsets[g];
    const int8_t* q = block.q.data() + g * format.group;
    float* to = out + g * format.group;
    if (format.offsets)
      for (size_t i = 0; i < format.group; ++i) to[i] = static_cast<float>(q[i]) * scale + offset;
    else
      for (size_t i = 0; i < format.group; ++i) to[i] = static_cast<float>(q[i]) * scale;
  }
}

}  // namespace

const BlockFormat* find_block_format(uint32_t type) {
  for (const BlockFormat& format : kFormats)
    if (static_cast<uint32_t>(format.type) == type) return &format;
  return nullptr;
}

const BlockFormat& block_format(BlockType type) {
  return *find_block_format(static_cast<uint32_t>(type));
}

const BlockFormat& block_format(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const BlockFormat& format : kFormats)
    if (format.name == upper) return format;
  fail("\"{}\": no such type; known: {}", name, readable_block_types());
}

std::string_view block_type_name(uint32_t type) {
  return type < kNames.size() && !kNames[type].empty() ? kNames[type] : "of an unknown number";
}

std::string_view readable_block_types() {
  return "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, "
         "IQ4_XS, MXFP4";
}

void read_block(BlockType type, const std::byte* source, BlockIntegers& out) {
  const auto* in = reinterpret_cast<Bytes>(source);
  switch (type) {
    case BlockType::q4_0:
      return read_q4_0(in, out);
    case BlockType::q4_1:
      return read_q4_1(in, out);
    case BlockType::q5_0:
      return read_q5_0(in, out);
    case BlockType::q5_1:
      return read_q5_1(in, out);
    case BlockType::q8_0:
      return read_q8_0(in, out);
    case BlockType::q2_k:
      return read_q2_k(in, out);
    case BlockType::q3_k:
      return read_q3_k(in, out);
    case BlockType::q4_k:
      return read_q4_or_q5_k(in, nullptr, in + 16, out);
    case BlockType::q5_k:
      return read_q4_or_q5_k(in, in + 16, in + 48, out);
    case BlockType::q6_k:
      return read_q6_k(in, out);
    case BlockType::iq4_nl:
      return read_iq4_nl(in, out);
    case BlockType::iq4_xs:
      return read_iq4_xs(in, out);
    case BlockType::mxfp4:
      return read_mxfp4(in, out);
    case BlockType::f32:
    case BlockType::f16:
    case BlockType::bf16:
      return;  // no integers
  }
}

void decode_blocks(BlockType type, const std::byte* source, float* target, size_t count) {
  switch (type) {
    case BlockType::f32:
      return convert_to_f32(DType::f32, source, target, count);
    case BlockType::f16:
      return convert_to_f32(DType::f16, source, target, count);
    case BlockType::bf16:
      return convert_to_f32(DType::bf16, source, target, count);
    default:
      break;
  }
  const BlockFormat& format = block_format(type);
  BlockIntegers block{};
  for (size_t i = 0; i < count / format.elements; ++i) {
    read_block(type, source + i * format.bytes, block);
    decode_block(format, block, target + i * format.elements);
  }
}

}  // namespace um
