// Encoding to the block types that we write; see block_types.h.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/block_types.h"
#include "core/dtype.h"
#include "core/error.h"

namespace um {
namespace {

void put_half(float value, uint8_t* at) {
  const uint16_t bits = f16_from_f32(value);
  std::memcpy(at, &bits, sizeof bits);
}

void encode_q8_0(const float* in, uint8_t* out) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(in[i]));
  const float d = largest / 127;
  const float inverse = d != 0 ? 1 / d : 0;
  put_half(d, out);
  for (int i = 0; i < 32; ++i)
    out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(in[i] * inverse)));
}

/// The first value of largest magnitude.
float extreme_of(const float* in, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i)
    if (std::fabs(in[i]) > std::fabs(extreme)) extreme = in[i];
  return extreme;
}

/// The value of largest magnitude becomes -8, so that its sign decides that of the scale.
void encode_q4_0(const float* in, uint8_t* out) {
  const float d = extreme_of(in, 32) / -8;
  const float inverse = d != 0 ? 1 / d : 0;
  put_half(d, out);
  const auto quantum = [&](float x) {
    return static_cast<uint8_t>(std::min(15, static_cast<int>(x * inverse + 8.5F)));
  };
  for (int i = 0; i < 16; ++i)
    out[2 + i] = static_cast<uint8_t>(quantum(in[i]) | quantum(in[i + 16]) << 4);
}

/// How 32 values are written as scale·q - min with q in 0..15.
struct Affine {
  float scale = 0, min = 0;
};

/// Squared error of the best q for a scale and minimum; also gives the sums from which least
/// squares finds better ones for these q.
struct Fit {
  double error = 0, q = 0, qq = 0, qx = 0, x = 0;
};

int nearest_quantum(float x, Affine a) {
  if (a.scale <= 0) return 0;
  return std::clamp(static_cast<int>(std::lround((x + a.min) / a.scale)), 0, 15);
}

Fit fit_of(const float* in, Affine a) {
  Fit fit;
  for (int i = 0; i < 32; ++i) {
    const double x = in[i], q = nearest_quantum(in[i], a);
    const double difference = q * a.scale - a.min - x;
    fit.error += difference * difference;
    fit.q += q;
    fit.qq += q * q;
    fit.qx += q * x;
    fit.x += x;
  }
  return fit;
}

/// Scale and minimum (both at least 0) of least squared error: from several starting scales, each
/// improved by least squares for its own q.
Affine best_affine(const float* in) {
  const auto [low, high] = std::minmax_element(in, in + 32);
  const float min = std::max(0.0F, -*low), span = *high + min;
  if (!(span > 0)) return {0, min};
  Affine best{span / 15, min};
  double least = fit_of(in, best).error;
  for (int step = -4; step <= 12; ++step) {
    Affine a{span / (15.0F + 0.125F * static_cast<float>(step)), min};
    for (int round = 0; round < 2; ++round) {
      const Fit fit = fit_of(in, a);
      if (fit.error < least) {
        least = fit.error;
        best = a;
      }
      const double determinant = 32 * fit.qq - fit.q * fit.q;
      if (determinant <= 0) break;
      double scale = (32 * fit.qx - fit.q * fit.x) / determinant;
      double offset = (fit.qq * fit.x - fit.q * fit.qx) / determinant;
      if (offset > 0) {  // the minimum cannot be negative
        offset = 0;
        scale = fit.qq > 0 ? fit.qx / fit.qq : 0;
      }
      if (scale <= 0) break;
      a = {static_cast<float>(scale), static_cast<float>(-offset)};
      const double error = fit_of(in, a).error;
      if (error < least) {
        least = error;
        best = a;
      }
    }
  }
  return best;
}

int six_bits(float value, float unit) {
  return unit > 0 ? std::clamp(static_cast<int>(std::lround(value / unit)), 0, 63) : 0;
}

void encode_q4_k(const float* in, uint8_t* out) {
  std::array<Affine, 8> parts;
  float scale = 0, min = 0;
  for (size_t j = 0; j < 8; ++j) {
    parts[j] = best_affine(in + 32 * j);
    scale = std::max(scale, parts[j].scale);
    min = std::max(min, parts[j].min);
  }
  std::fill(out, out + 144, uint8_t{0});
  put_half(scale / 63, out);
  put_half(min / 63, out + 2);
  uint16_t bits[2];
  std::memcpy(bits, out, sizeof bits);
  const float d = f32_from_f16(bits[0]), dmin = f32_from_f16(bits[1]);
  uint8_t *scales = out + 4, *qs = out + 16;
  for (size_t j = 0; j < 8; ++j) {
    const int s = six_bits(parts[j].scale, d), m = six_bits(parts[j].min, dmin);
    if (j < 4) {
      scales[j] = static_cast<uint8_t>(scales[j] | s);
      scales[j + 4] = static_cast<uint8_t>(scales[j + 4] | m);
    } else {
      scales[j + 4] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
      scales[j - 4] = static_cast<uint8_t>(scales[j - 4] | s >> 4 << 6);
      scales[j] = static_cast<uint8_t>(scales[j] | m >> 4 << 6);
    }
    const Affine rounded{d * static_cast<float>(s), dmin * static_cast<float>(m)};
    for (size_t l = 0; l < 32; ++l) {
      const int q = nearest_quantum(in[32 * j + l], rounded);
      uint8_t& both = qs[j / 2 * 32 + l];
      both = static_cast<uint8_t>(both | q << (j % 2 * 4));
    }
  }
}

constexpr int kSixGroup = 16;  // values with a scale of their own

int six_bit_quantum(float x, float scale) {
  return scale != 0 ? std::clamp(static_cast<int>(std::lround(x / scale)), -32, 31) : 0;
}

/// The scale of 16 values that six bits keep with least squared error: from a few on that make the
/// largest magnitude an end of the range, each improved by least squares for its own quanta.
float best_six_bit_scale(const float* in) {
  const float extreme = extreme_of(in, kSixGroup);
  float best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (const float steps : {-32.0F, -31.0F, -30.0F, -33.5F}) {
    float scale = extreme / steps;
    for (int round = 0; round < 4; ++round) {
      double error = 0, product = 0, squares = 0;
      for (int i = 0; i < kSixGroup; ++i) {
        const double x = in[i], q = six_bit_quantum(in[i], scale), off = x - double{scale} * q;
        error += off * off;
        product += x * q;
        squares += q * q;
      }
      if (error >= least) break;
      least = error;
      best = scale;
      if (squares == 0) break;
      scale = static_cast<float>(product / squares);
    }
  }
  return best;
}

/// Scales are 8 bits of a common one in f16.
void encode_q6_k(const float* in, uint8_t* out) {
  std::array<float, 16> scales;
  float largest = 0;
  for (size_t j = 0; j < scales.size(); ++j) {
    scales[j] = best_six_bit_scale(in + kSixGroup * j);
    largest = std::max(largest, std::fabs(scales[j]));
  }
  std::fill(out, out + 210, uint8_t{0});
  put_half(largest / 127, out + 208);
  uint16_t bits;
  std::memcpy(&bits, out + 208, sizeof bits);
  const float d = f32_from_f16(bits);
  for (size_t j = 0; j < scales.size(); ++j) {
    const long s = d > 0 ? std::clamp(std::lround(scales[j] / d), -127L, 127L) : 0;
    out[192 + j] = static_cast<uint8_t>(static_cast<int8_t>(s));
    scales[j] = d * static_cast<float>(s);
  }
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128, quarter = i % 128 / 32, l = i % 32;
    const int q = six_bit_quantum(in[i], scales[i / kSixGroup]) + 32;
    uint8_t& low = out[half * 64 + quarter % 2 * 32 + l];
    uint8_t& high = out[128 + half * 32 + l];
    low = static_cast<uint8_t>(low | (q & 15) << (quarter < 2 ? 0 : 4));
    high = static_cast<uint8_t>(high | (q >> 4) << (quarter * 2));
  }
}

template <void (*encode)(const float*, uint8_t*)>
void for_blocks(const BlockFormat& format, const float* source, std::byte* target, size_t count) {
  auto* out = reinterpret_cast<uint8_t*>(target);
  for (size_t i = 0; i < count / format.elements; ++i)
    encode(source + i * format.elements, out + i * format.bytes);
}

/// Blocks have no NaN and no infinity, and a scale beyond f16 would be one.
void check_finite(const float* source, size_t count, std::string_view name) {
  for (size_t i = 0; i < count; ++i)
    UM_CHECK(std::fabs(source[i]) <= 60000.0F, "{}: cannot hold the value {}", name, source[i]);
}

}  // namespace

bool can_encode(BlockType type) {
  switch (type) {
    case BlockType::f32:
    case BlockType::f16:
    case BlockType::bf16:
    case BlockType::q8_0:
    case BlockType::q4_0:
    case BlockType::q4_k:
    case BlockType::q6_k:
      return true;
    default:
      return false;
  }
}

void encode_blocks(BlockType type, const float* source, std::byte* target, size_t count) {
  const BlockFormat& format = block_format(type);
  UM_CHECK(can_encode(type), "{}: this type can be read, not written", format.name);
  if (format.elements > 1) check_finite(source, count, format.name);
  switch (type) {
    case BlockType::f32:
      return convert_from_f32(DType::f32, source, target, count);
    case BlockType::f16:
      return convert_from_f32(DType::f16, source, target, count);
    case BlockType::bf16:
      return convert_from_f32(DType::bf16, source, target, count);
    case BlockType::q8_0:
      return for_blocks<encode_q8_0>(format, source, target, count);
    case BlockType::q4_0:
      return for_blocks<encode_q4_0>(format, source, target, count);
    case BlockType::q6_k:
      return for_blocks<encode_q6_k>(format, source, target, count);
    default:
      return for_blocks<encode_q4_k>(format, source, target, count);
  }
}

}  // namespace um
