// Element types of tensors, their names in files and configs, and bulk conversion to and from f32.
//
// The set is that of safetensors (the format's specification), so every well-formed checkpoint can
// be described, whether or not a kernel can compute in the type. Little-endian hosts only.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace um {

static_assert(std::endian::native == std::endian::little, "file formats are read in place");

enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i8,
  u8,
  i16,
  u16,
  i32,
  u32,
  i64,
  u64,
  bool8,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f6_e2m3,
  f6_e3m2,
  f4,
  c64,
};

/// Bits of one element: 4 to 64.
int dtype_bits(DType dtype);

/// Bytes of one element. Throws Error for types smaller than a byte (f4, f6).
size_t dtype_size(DType dtype);

/// Short name for messages and options: "f32", "bf16", "f8_e4m3".
std::string_view dtype_name(DType dtype);

/// Name in a safetensors header: "F32", "BF16", "F8_E4M3".
std::string_view dtype_file_name(DType dtype);

/// Name in a Hugging Face config (`dtype` or `torch_dtype`): "float32"; empty where there is none.
std::string_view dtype_config_name(DType dtype);

/// The type with this safetensors name, exactly as written; nothing if there is none.
std::optional<DType> dtype_from_file_name(std::string_view name);

/// The type with this short or config name ("bf16", "bfloat16"). Throws Error listing the known.
DType dtype_from_name(std::string_view name);

/// Rounds to nearest, ties to even; NaN stays NaN, too large becomes infinity.
uint16_t bf16_from_f32(float value);
uint16_t f16_from_f32(float value);
inline float f32_from_bf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}
float f32_from_f16(uint16_t bits);
/// 8-bit floats, as in OCP's "OFP8": e4m3 has no infinity, e5m2 is the upper half of f16.
float f32_from_f8_e4m3(uint8_t bits);
float f32_from_f8_e5m2(uint8_t bits);

/// Converts `count` elements of any type up to 64 bits but bool, complex and sub-byte ones to f32.
/// `source` need not be aligned. Throws Error for the other types.
void convert_to_f32(DType dtype, const void* source, float* target, size_t count);

/// Converts `count` f32 values to f32, f64, f16 or bf16. `target` need not be aligned. Throws Error
/// for the other types.
void convert_from_f32(DType dtype, const float* source, void* target, size_t count);

/// The DType of a C++ element type, for those the program computes with.
template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::i8;
}
template <>
constexpr DType dtype_of<uint16_t>() {
  return DType::bf16;
}

}  // namespace um
