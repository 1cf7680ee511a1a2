// See dtype.h.
#include "core/dtype.h"

#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"

namespace um {
namespace {

struct Row {
  DType dtype;
  uint8_t bits;
  std::string_view name, file_name, config_name;
};

// In the order of the enumeration, so that a row's index is its type.
constexpr std::array kRows{
    Row{DType::f32, 32, "f32", "F32", "float32"},
    Row{DType::f16, 16, "f16", "F16", "float16"},
    Row{DType::bf16, 16, "bf16", "BF16", "bfloat16"},
    Row{DType::f64, 64, "f64", "F64", "float64"},
    Row{DType::i8, 8, "i8", "I8", "int8"},
    Row{DType::u8, 8, "u8", "U8", "uint8"},
    Row{DType::i16, 16, "i16", "I16", "int16"},
    Row{DType::u16, 16, "u16", "U16", "uint16"},
    Row{DType::i32, 32, "i32", "I32", "int32"},
    Row{DType::u32, 32, "u32", "U32", "uint32"},
    Row{DType::i64, 64, "i64", "I64", "int64"},
    Row{DType::u64, 64, "u64", "U64", "uint64"},
    Row{DType::bool8, 8, "bool", "BOOL", ""},
    Row{DType::f8_e4m3, 8, "f8_e4m3", "F8_E4M3", "float8_e4m3fn"},
    Row{DType::f8_e5m2, 8, "f8_e5m2", "F8_E5M2", "float8_e5m2"},
    Row{DType::f8_e8m0, 8, "f8_e8m0", "F8_E8M0", ""},
    Row{DType::f8_e4m3fnuz, 8, "f8_e4m3fnuz", "F8_E4M3FNUZ", ""},
    Row{DType::f8_e5m2fnuz, 8, "f8_e5m2fnuz", "F8_E5M2FNUZ", ""},
    Row{DType::f6_e2m3, 6, "f6_e2m3", "F6_E2M3", ""},
    Row{DType::f6_e3m2, 6, "f6_e3m2", "F6_E3M2", ""},
    Row{DType::f4, 4, "f4", "F4", ""},
    Row{DType::c64, 64, "c64", "C64", ""},
};

constexpr bool rows_in_order() {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].dtype) != i) return false;
  }
  return kRows.size() == static_cast<size_t>(DType::c64) + 1;
}
static_assert(rows_in_order());

const Row& row(DType dtype) {
  return kRows[static_cast<size_t>(dtype)];
}

// Both loops copy each element through memcpy because file data may lie at any address.
template <class From, class Convert>
void load_each(const void* source, float* target, size_t count, Convert convert) {
  const auto* bytes = static_cast<const std::byte*>(source);
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, bytes + i * sizeof(From), sizeof(From));
    target[i] = convert(value);
  }
}

template <class To, class Convert>
void store_each(const float* source, void* target, size_t count, Convert convert) {
  auto* bytes = static_cast<std::byte*>(target);
  for (size_t i = 0; i < count; ++i) {
    const To value = convert(source[i]);
    std::memcpy(bytes + i * sizeof(To), &value, sizeof(To));
  }
}

template <class From>
void load_cast(const void* source, float* target, size_t count) {
  load_each<From>(source, target, count, [](From value) { return static_cast<float>(value); });
}

}  // namespace

int dtype_bits(DType dtype) {
  return row(dtype).bits;
}

size_t dtype_size(DType dtype) {
  UM_CHECK(row(dtype).bits % 8 == 0, "dtype {}: an element is not a whole number of bytes",
           row(dtype).name);
  return row(dtype).bits / 8;
}

std::string_view dtype_name(DType dtype) {
  return row(dtype).name;
}
std::string_view dtype_file_name(DType dtype) {
  return row(dtype).file_name;
}
std::string_view dtype_config_name(DType dtype) {
  return row(dtype).config_name;
}

std::optional<DType> dtype_from_file_name(std::string_view name) {
  for (const Row& candidate : kRows) {
    if (candidate.file_name == name) return candidate.dtype;
  }
  return std::nullopt;
}

DType dtype_from_name(std::string_view name) {
  std::string known;
  for (const Row& candidate : kRows) {
    if (!name.empty() && (candidate.name == name || candidate.config_name == name)) {
      return candidate.dtype;
    }
    known += (known.empty() ? "" : ", ") + std::string(candidate.name);
  }
  fail("dtype: expected one of {}, found \"{}\"", known, name);
}

uint16_t bf16_from_f32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

uint16_t f16_from_f32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // >= 65520
  if (magnitude < 0x38800000u) {
    // Subnormal in f16: adding 0.5 lets the f32 adder round at f16's last place, 2^-24.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  const uint32_t rounded = magnitude - 0x38000000u + 0xfffu + odd;  // rebias 127 to 15, round
  return static_cast<uint16_t>(sign | (rounded >> 13));
}

float f32_from_f16(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t magnitude = (bits & 0x7fffu) << 13;
  if (magnitude >= 0x0f800000u) {  // infinity and NaN keep the top exponent
    return std::bit_cast<float>(sign | magnitude | 0x7f800000u);
  }
  // Scaling by 2^112 rebiases the exponent and normalises subnormals in one exact step.
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

float f32_from_f8_e4m3(uint8_t bits) {
  const int exponent = (bits >> 3) & 15;
  const int fraction = bits & 7;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                              : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  if ((bits & 0x7f) == 0x7f) value = std::bit_cast<float>(0x7fc00000u);
  return (bits & 0x80) != 0 ? -value : value;
}

float f32_from_f8_e5m2(uint8_t bits) {
  return f32_from_f16(static_cast<uint16_t>(bits << 8));
}

void convert_to_f32(DType dtype, const void* source, float* target, size_t count) {
  if (count == 0) return;
  switch (dtype) {
    case DType::f32:
      std::memmove(target, source, count * sizeof(float));
      return;
    case DType::f16:
      return load_each<uint16_t>(source, target, count, f32_from_f16);
    case DType::bf16:
      return load_each<uint16_t>(source, target, count, f32_from_bf16);
    case DType::f8_e4m3:
      return load_each<uint8_t>(source, target, count, f32_from_f8_e4m3);
    case DType::f8_e5m2:
      return load_each<uint8_t>(source, target, count, f32_from_f8_e5m2);
    case DType::f64:
      return load_cast<double>(source, target, count);
    case DType::i8:
      return load_cast<int8_t>(source, target, count);
    case DType::u8:
      return load_cast<uint8_t>(source, target, count);
    case DType::i16:
      return load_cast<int16_t>(source, target, count);
    case DType::u16:
      return load_cast<uint16_t>(source, target, count);
    case DType::i32:
      return load_cast<int32_t>(source, target, count);
    case DType::u32:
      return load_cast<uint32_t>(source, target, count);
    case DType::i64:
      return load_cast<int64_t>(source, target, count);
    case DType::u64:
      return load_cast<uint64_t>(source, target, count);
    default:
      fail("dtype {}: no conversion to f32", dtype_name(dtype));
  }
}

void convert_from_f32(DType dtype, const float* source, void* target, size_t count) {
  if (count == 0) return;
  switch (dtype) {
    case DType::f32:
      std::memmove(target, source, count * sizeof(float));
      return;
    case DType::f16:
      return store_each<uint16_t>(source, target, count, f16_from_f32);
    case DType::bf16:
      return store_each<uint16_t>(source, target, count, bf16_from_f32);
    case DType::f64:
      return store_each<double>(source, target, count,
                                [](float value) { return static_cast<double>(value); });
    default:
      fail("dtype {}: no conversion from f32", dtype_name(dtype));
  }
}

}  // namespace um
