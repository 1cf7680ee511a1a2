// Scalar pieces of one row that several reference kernels share: RMSNorm, its gradient, RoPE, and
// the store that either overwrites or accumulates.
#pragma once

#include <cmath>
#include <cstdint>

namespace um::ref {

/// *to = value, or *to += value.
inline void put(float* to, double value, bool accumulate) {
  *to = static_cast<float>(accumulate ? *to + value : value);
}

/// 1 / sqrt(mean(x²) + eps) of one row.
inline float inverse_rms(const float* x, int64_t cols, float eps) {
  double squares = 0;
  for (int64_t i = 0; i < cols; ++i) squares += static_cast<double>(x[i]) * x[i];
  return static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(cols) + eps));
}

/// mean_i(dy_i gain_i x_i), the one scalar the gradient of a normalised row needs.
template <class Grad>
double norm_dot(const Grad* dy, const float* gain, const float* x, int64_t cols) {
  double dot = 0;
  for (int64_t i = 0; i < cols; ++i) dot += static_cast<double>(dy[i]) * gain[i] * x[i];
  return dot / static_cast<double>(cols);
}

/// dx_i of y = gain x inv(x): inv (gain dy - x inv² mean(dy gain x)).
inline double norm_grad(double dy, double gain, double x, double inv, double mean_dot) {
  return inv * (gain * dy - x * inv * inv * mean_dot);
}

/// Rotates `dim` channels by the angles of one table row (dim/2 cosines, dim/2 sines); by the
/// negative angles if `inverse`. y may be x.
inline void rope_row(const float* x, const float* table, int64_t dim, bool interleave, bool inverse,
                     float* y, bool accumulate) {
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const int64_t first = interleave ? 2 * i : i, second = interleave ? 2 * i + 1 : i + half;
    const double c = table[i], s = inverse ? -table[half + i] : table[half + i];
    const double a = x[first], b = x[second];
    put(y + first, a * c - b * s, accumulate);
    put(y + second, a * s + b * c, accumulate);
  }
}

}  // namespace um::ref
