// See rounding.h.
#include "ops/rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/kernels.h"

namespace um {
namespace {

/// A group of values on their way to codes; `importance` may be null.
struct Group {
  const float* x;
  const float* importance;
  int64_t size;

  double weight(int64_t i) const {
    return importance == nullptr ? 1.0 : static_cast<double>(importance[i]);
  }
};

/// The codes -8 … 7 at a scale, plus 8; their squared error.
double round_group(const Group& group, float scale, uint8_t* codes) {
  const float inverse = scale == 0 ? 0.0f : 1 / scale;
  double error = 0;
  for (int64_t i = 0; i < group.size; ++i) {
    const float q = std::nearbyint(std::clamp(group.x[i] * inverse, -8.0f, 7.0f));
    codes[i] = static_cast<uint8_t>(static_cast<int32_t>(q) + 8);
    const double off = double{group.x[i]} - double{scale} * double{q};
    error += group.weight(i) * off * off;
  }
  return error;
}

/// The scale as it is kept.
float stored_scale(float scale, bool half) {
  return half ? f32_from_f16(f16_from_f32(scale)) : scale;
}

/// Codes of 8 bits from integers of that scale, and the scale as it is kept. f16 keeps those below
/// its smallest normal one badly: integers are then made anew, with what is kept.
float keep_eight(const Group& group, float scale, bool half, const int8_t* integers,
                 uint8_t* codes) {
  constexpr float kSmallestNormal = 0x1p-14f;
  const float kept = stored_scale(scale, half);
  const bool anew = half && scale > 0 && scale < kSmallestNormal;
  const auto again = [&](float x) {
    return kept == 0 ? 0.0f : std::nearbyint(std::clamp(x / kept, -127.0f, 127.0f));
  };
  for (int64_t i = 0; i < group.size; ++i)
    codes[i] = static_cast<uint8_t>(
        (anew ? static_cast<int32_t>(again(group.x[i])) : int32_t{integers[i]}) + 128);
  return kept;
}

/// Codes of -8 … 7: from a few scales on, the least-squares scale of the codes and the codes of
/// that scale in turn; the best of all.
float choose_scale(const Group& group, bool half, bool search, uint8_t* codes) {
  constexpr int kRounds = 6;
  float extreme = 0;
  for (int64_t i = 0; i < group.size; ++i)
    if (std::abs(group.x[i]) > std::abs(extreme)) extreme = group.x[i];
  if (!search) {
    const float scale = stored_scale(std::abs(extreme) / 7, half);
    round_group(group, scale, codes);
    return scale;
  }
  std::vector<uint8_t> tried(static_cast<size_t>(group.size));
  double best = std::numeric_limits<double>::infinity();
  float chosen = 0;
  const auto attempt = [&](float scale) {
    const double error = round_group(group, scale, tried.data());
    if (error >= best) return false;
    best = error;
    chosen = scale;
    std::copy_n(tried.data(), group.size, codes);
    return true;
  };
  for (const float steps : {-8.0f, -7.0f, 6.6f, 7.5f}) {
    float scale = stored_scale(extreme / steps, half);
    for (int round = 0; round < kRounds && attempt(scale); ++round) {
      double product = 0, squares = 0;
      for (int64_t i = 0; i < group.size; ++i) {
        const double q = codes[i] - 8, weight = group.weight(i);
        product += weight * static_cast<double>(group.x[i]) * q;
        squares += weight * q * q;
      }
      if (squares == 0) break;
      scale = stored_scale(static_cast<float>(product / squares), half);
    }
  }
  return std::isinf(best) ? std::numeric_limits<float>::infinity() : chosen;
}

}  // namespace

RowCodes round_row(const Kernels& kernels, const float* x, int64_t cols, RowFormat format,
                   const RoundOptions& options) {
  const int64_t bits = row_type_bits(format.type);
  const bool half = format.scale_type == ScaleType::f16;
  UM_CHECK((bits == 4 || bits == 8) && format.scale_type != ScaleType::coded,
           "{} is only read from files; values are rounded to 4 or 8 bits", format_name(format));
  const int64_t groups = format.scales(cols), group = std::min(format.group, cols);
  std::vector<float> turned;
  if (format.rotation > 0) {
    turned.resize(static_cast<size_t>(cols));
    kernels.rotate_rows({.rows = 1,
                         .width = cols,
                         .block = format.rotation,
                         .x = x,
                         .ldx = cols,
                         .y = turned.data(),
                         .ldy = cols});
    x = turned.data();
  }
  RowCodes row;
  row.codes.resize(static_cast<size_t>(cols));
  row.scales.resize(static_cast<size_t>(groups));
  // At 8 bits these are the codes; at 4 they show which groups are finite.
  std::vector<int8_t> eight(static_cast<size_t>(cols));
  kernels.quantize_rows({.rows = 1,
                         .width = cols,
                         .group = format.group,
                         .x = x,
                         .values = eight.data(),
                         .scales = row.scales.data()});
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * group, n = std::min(group, cols - begin);
    uint8_t* codes = row.codes.data() + begin;
    float& scale = row.scales[static_cast<size_t>(g)];
    if (bits == 8)
      scale = keep_eight({x + begin, nullptr, n}, scale, half, eight.data() + begin, codes);
    else if (std::isfinite(scale))
      scale = choose_scale(
          {x + begin, options.importance == nullptr ? nullptr : options.importance + begin, n},
          half, options.search, codes);
    if (format.offsets) row.offsets.push_back(static_cast<float>(-format.code_middle()) * scale);
  }
  return row;
}

}  // namespace um
