// Block types of GGUF: recorded vectors, equality with the Python package `gguf`, and what encoding
// loses.
#include "core/block_types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "core/dtype.h"
#include "core/error.h"
#include "tests/text/peer_util.h"

namespace um {
namespace {

using nlohmann::json;

const std::vector<BlockType> kBlocks = {
    BlockType::q4_0,   BlockType::q4_1,   BlockType::q5_0, BlockType::q5_1, BlockType::q8_0,
    BlockType::q2_k,   BlockType::q3_k,   BlockType::q4_k, BlockType::q5_k, BlockType::q6_k,
    BlockType::iq4_nl, BlockType::iq4_xs, BlockType::mxfp4};

/// Where a block has its f16 scales.
std::vector<size_t> halves_of(BlockType type) {
  switch (type) {
    case BlockType::q4_1:
    case BlockType::q5_1:
    case BlockType::q4_k:
    case BlockType::q5_k:
      return {0, 2};
    case BlockType::q2_k:
      return {80, 82};
    case BlockType::q3_k:
      return {108};
    case BlockType::q6_k:
      return {208};
    case BlockType::mxfp4:
      return {};  // a power of two
    default:
      return {0};
  }
}

/// Random blocks whose scales are ordinary numbers.
std::vector<uint8_t> random_blocks(BlockType type, size_t count, std::mt19937& random) {
  const BlockFormat& format = block_format(type);
  std::vector<uint8_t> bytes(count * format.bytes);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t block = 0; block < count; ++block)
    for (const size_t at : halves_of(type)) {
      const float scale = static_cast<float>(static_cast<int>(random() % 2001) - 1000) * 1e-3F;
      const uint16_t half = f16_from_f32(scale);
      std::memcpy(&bytes[block * format.bytes + at], &half, sizeof half);
    }
  return bytes;
}

std::vector<float> decode(BlockType type, const std::vector<uint8_t>& bytes) {
  const BlockFormat& format = block_format(type);
  std::vector<float> values(bytes.size() / format.bytes * format.elements);
  decode_blocks(type, reinterpret_cast<const std::byte*>(bytes.data()), values.data(),
                values.size());
  return values;
}

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

/// A block whose bytes count up, with scale 0.5 (and minimum 0.25 where there is one).
std::vector<uint8_t> counting_block(BlockType type) {
  std::vector<uint8_t> bytes(block_format(type).bytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(37 * i + 11);
  const auto halves = halves_of(type);
  for (size_t i = 0; i < halves.size(); ++i) {
    const uint16_t half = f16_from_f32(i == 0 ? 0.5F : 0.25F);
    std::memcpy(&bytes[halves[i]], &half, sizeof half);
  }
  if (type == BlockType::mxfp4) bytes[0] = 126;  // of doubled values: a quarter
  return bytes;
}

// First, middle and last values and the sum of a counting block, recorded from the package.
struct Recorded {
  BlockType type;
  float first, middle, last;
  double sum;
};

TEST(BlockTypes, RecordedVectors) {
  for (const BlockType type : kBlocks) {
    const std::vector<float> values = decode(type, counting_block(type));
    double sum = 0;
    for (const float value : values) sum += value;
    const Recorded found{type, values.front(), values[values.size() / 2], values.back(), sum};
    static const std::vector<Recorded> kExpected = {
        {BlockType::q4_0, -1.5F, -1.5F, 0.0F, -10.5},
        {BlockType::q4_1, 7.75F, 4.75F, 6.25F, 130.5},
        {BlockType::q5_0, 4.5F, 7.0F, 0.5F, 7.5},
        {BlockType::q5_1, 9.75F, 9.75F, 2.75F, 260.5},
        {BlockType::q8_0, 42.5F, -45.5F, -24.0F, -88.0},
        {BlockType::q2_k, 16.5F, 3.75F, 2.25F, 1029.5},
        {BlockType::q3_k, 40.5F, 1.0F, 21.0F, 479.0},
        {BlockType::q4_k, 157.75F, 211.5F, 24.25F, 27220.0},
        {BlockType::q5_k, 405.75F, 523.5F, 54.25F, 58108.0},
        {BlockType::q6_k, -715.5F, -175.5F, -30.0F, 2306.0},
        {BlockType::iq4_nl, -17.5F, -17.5F, 0.5F, -128.5},
        {BlockType::iq4_xs, 32.5F, -292.5F, -8.0F, -5502.5},
        {BlockType::mxfp4, 0.0F, 0.75F, 1.5F, 6.25},
    };
    bool seen = false;
    for (const Recorded& expected : kExpected) {
      if (expected.type != type) continue;
      seen = true;
      EXPECT_EQ(found.first, expected.first) << block_format(type).name;
      EXPECT_EQ(found.middle, expected.middle) << block_format(type).name;
      EXPECT_EQ(found.last, expected.last) << block_format(type).name;
      EXPECT_EQ(found.sum, expected.sum) << block_format(type).name;
    }
    EXPECT_TRUE(seen) << block_format(type).name << " " << found.first << " " << found.middle << " "
                      << found.last << " " << found.sum;
  }
}

TEST(BlockTypes, EqualsThePackageBitForBit) {
  std::mt19937 random(7);
  json request = {{"decode", json::object()}, {"encode", json::object()}};
  std::map<std::string, std::pair<BlockType, std::vector<uint8_t>>> blocks;
  for (const BlockType type : kBlocks) {
    const std::string name(block_format(type).name);
    std::vector<uint8_t> bytes = random_blocks(type, 40, random);
    const std::vector<uint8_t> counting = counting_block(type);
    bytes.insert(bytes.end(), counting.begin(), counting.end());
    request["decode"][name] = hex(bytes);
    blocks[name] = {type, std::move(bytes)};
  }
  std::normal_distribution<float> normal(0, 0.1F);
  std::vector<float> values(32 * 64);
  for (float& value : values) value = normal(random);
  std::fill_n(values.begin(), 32, 0.0F);  // an empty block
  for (const char* name : {"Q8_0", "Q4_0", "BF16"}) request["encode"][name] = values;
  const auto reply = ask_python("../core/gguf_peer.py", request);
  if (!reply) GTEST_SKIP() << "Python or its package gguf is missing (set UM_PYTHON)";
  for (const auto& [name, block] : blocks) {
    const std::vector<float> found = decode(block.first, block.second);
    const auto expected = (*reply)["decode"][name].get<std::vector<uint32_t>>();
    ASSERT_EQ(found.size(), expected.size()) << name;
    for (size_t i = 0; i < found.size(); ++i)
      ASSERT_EQ(std::bit_cast<uint32_t>(found[i]), expected[i]) << name << " " << i;
  }
  for (const auto& [name, expected] : (*reply)["encode"].items()) {
    const BlockFormat& format = block_format(name);
    std::vector<uint8_t> bytes(values.size() / format.elements * format.bytes);
    encode_blocks(format.type, values.data(), reinterpret_cast<std::byte*>(bytes.data()),
                  values.size());
    EXPECT_EQ(hex(bytes), expected.get<std::string>()) << name;
  }
}

double relative_error(BlockType type, const std::vector<float>& values) {
  const BlockFormat& format = block_format(type);
  std::vector<uint8_t> bytes(values.size() / format.elements * format.bytes);
  encode_blocks(type, values.data(), reinterpret_cast<std::byte*>(bytes.data()), values.size());
  const std::vector<float> back = decode(type, bytes);
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(back[i] - values[i], 2);
    norm += std::pow(values[i], 2);
  }
  return std::sqrt(error / norm);
}

TEST(BlockTypes, EncodingLosesWhatItsBitsAllow) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<float> values(256 * 64);
  for (float& value : values) value = normal(random);
  EXPECT_EQ(relative_error(BlockType::f32, values), 0);
  EXPECT_LT(relative_error(BlockType::f16, values), 4e-4);
  EXPECT_LT(relative_error(BlockType::bf16, values), 3e-3);
  EXPECT_LT(relative_error(BlockType::q8_0, values), 6e-3);
  EXPECT_LT(relative_error(BlockType::q4_0, values), 0.095);
  // Better than Q4_0 for as many bits; a plain minimum and maximum gives about 0.082.
  EXPECT_LT(relative_error(BlockType::q4_k, values), 0.078);
  // With the largest magnitude always at an end of the range it is 0.0189.
  EXPECT_LT(relative_error(BlockType::q6_k, values), 0.0175);
  // Values that are all on the grid come back (nearly: scales are rounded, too).
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 16) * 0.5F;
  EXPECT_LT(relative_error(BlockType::q4_k, values), 1e-3);
  std::fill(values.begin(), values.end(), 3.0F);
  EXPECT_LT(relative_error(BlockType::q4_k, values), 1e-3);
  std::fill(values.begin(), values.end(), -3.0F);
  EXPECT_LT(relative_error(BlockType::q4_k, values), 1e-3);
  EXPECT_LT(relative_error(BlockType::q6_k, values), 1e-3);
  std::fill(values.begin(), values.end(), 0.0F);
  values[300] = -1e-12F;  // below what f16 scales tell from zero
  EXPECT_LE(relative_error(BlockType::q6_k, values), 1);
}

TEST(BlockTypes, Names) {
  EXPECT_EQ(block_format("q4_k").type, BlockType::q4_k);
  EXPECT_EQ(block_type_name(22), "IQ2_S");
  EXPECT_EQ(find_block_format(22), nullptr);
  EXPECT_EQ(find_block_format(4), nullptr);
  EXPECT_EQ(find_block_format(0xFFFFFFFF), nullptr);
  EXPECT_THROW(block_format("Q9"), Error);
  const float value = 1;
  std::byte out[64];
  EXPECT_THROW(encode_blocks(BlockType::q5_k, &value, out, 0), Error);
  const std::vector<float> infinite(32, INFINITY);
  EXPECT_THROW(encode_blocks(BlockType::q8_0, infinite.data(), out, 32), Error);
}

}  // namespace
}  // namespace um
