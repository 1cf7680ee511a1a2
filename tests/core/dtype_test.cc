// Names, sizes and roundings of the element types.
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/error.h"

namespace um {
namespace {

TEST(DTypeTest, NamesAndSizes) {
  EXPECT_EQ(dtype_size(DType::bf16), 2u);
  EXPECT_EQ(dtype_bits(DType::f6_e2m3), 6);
  EXPECT_THROW(dtype_size(DType::f4), Error);
  EXPECT_EQ(dtype_from_file_name("F8_E4M3"), DType::f8_e4m3);
  EXPECT_EQ(dtype_from_file_name("f32"), std::nullopt);
  EXPECT_EQ(dtype_from_name("bfloat16"), DType::bf16);
  EXPECT_EQ(dtype_from_name("bf16"), DType::bf16);
  EXPECT_EQ(dtype_config_name(DType::f16), "float16");
  EXPECT_THROW(dtype_from_name(""), Error);
  EXPECT_THROW(dtype_from_name("bf17"), Error);
}

TEST(DTypeTest, Bf16RoundsToNearestEven) {
  EXPECT_EQ(bf16_from_f32(1.0f), 0x3f80);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // tie, even below
  EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // tie, even above
  EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(bf16_from_f32(-std::numeric_limits<float>::infinity()), 0xff80);
  const float nan = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(nan))));
}

TEST(DTypeTest, EveryF16SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f32_from_f16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_EQ(bits & 0x7c00u, 0x7c00u);
      EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(value))));
    } else {
      ASSERT_EQ(f16_from_f32(value), bits);
    }
  }
  EXPECT_EQ(f32_from_f16(0x0001), 0x1p-24f);
  EXPECT_EQ(f32_from_f16(0x7bff), 65504.0f);
}

// Rounding is right if no neighbour is nearer, and of two equally near ones the even was taken.
TEST(DTypeTest, F16RoundsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const auto bits = static_cast<uint16_t>(random() % 0x7bff);  // below the largest finite
    const double low = f32_from_f16(bits);
    const double high = f32_from_f16(static_cast<uint16_t>(bits + 1));
    const float value =
        static_cast<float>(low + (high - low) * (i % 2 ? 0.5 : (random() % 1000) / 1000.0));
    const uint16_t found = f16_from_f32(value);
    const double below = value - low, above = high - value;
    const bool up = below > above || (below == above && bits % 2 == 1);
    ASSERT_EQ(found, bits + (up ? 1 : 0)) << value;
    ASSERT_EQ(f16_from_f32(-value), found | 0x8000) << value;
  }
  EXPECT_EQ(f16_from_f32(65519.0f), 0x7bff);
  EXPECT_EQ(f16_from_f32(65520.0f), 0x7c00);
  EXPECT_EQ(f16_from_f32(1e9f), 0x7c00);
  EXPECT_EQ(f16_from_f32(0x1p-25f), 0);
  EXPECT_EQ(f16_from_f32(0x1.1p-25f), 1);
}

TEST(DTypeTest, Float8) {
  EXPECT_EQ(f32_from_f8_e4m3(0x38), 1.0f);
  EXPECT_EQ(f32_from_f8_e4m3(0x7e), 448.0f);
  EXPECT_EQ(f32_from_f8_e4m3(0x01), 0x1p-9f);
  EXPECT_EQ(f32_from_f8_e4m3(0xb8), -1.0f);
  EXPECT_TRUE(std::isnan(f32_from_f8_e4m3(0xff)));
  EXPECT_EQ(f32_from_f8_e5m2(0x3c), 1.0f);
  EXPECT_EQ(f32_from_f8_e5m2(0x7b), 57344.0f);
  EXPECT_TRUE(std::isinf(f32_from_f8_e5m2(0x7c)));
}

TEST(DTypeTest, BulkConversionAtOddAddresses) {
  const std::vector<float> values{0.0f, -1.5f, 3.25f, 1000.0f, -0x1p-20f};
  std::vector<std::byte> buffer(values.size() * 8 + 1);
  std::vector<float> back(values.size());
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    convert_from_f32(dtype, values.data(), buffer.data() + 1, values.size());
    convert_to_f32(dtype, buffer.data() + 1, back.data(), back.size());
    EXPECT_EQ(back, values) << dtype_name(dtype);
  }
  const int8_t bytes[] = {-128, 0, 127};
  convert_to_f32(DType::i8, bytes, back.data(), 3);
  EXPECT_EQ(back[0], -128.0f);
  EXPECT_EQ(back[2], 127.0f);
  EXPECT_THROW(convert_to_f32(DType::c64, bytes, back.data(), 1), Error);
  EXPECT_THROW(convert_from_f32(DType::i8, values.data(), buffer.data(), 1), Error);
}

}  // namespace
}  // namespace um
