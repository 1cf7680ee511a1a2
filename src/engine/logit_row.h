// Passes over a row of logits [V] that stay fast for a vocabulary of 150,000: the largest, the k
// largest, sums of exponentials. Vectorised by the compiler; no result is stored per token.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace um {

/// exp(x) for -104 ≤ x ≤ 0 to about 2e-7 of its value, 0 below about -87.7. Without branches, so
/// that loops over it become vector code. Cody & Waite's reduction, then the series.
inline float exp_nonpositive(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = (x * 1.44269504f + kRound) - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // x - n ln 2, in two parts
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t exponent = static_cast<int32_t>(n) + 127;
  return p * __builtin_bit_cast(float, (exponent > 0 ? exponent : 0) << 23);
}

/// The index of the largest logit, the lowest of equals. Throws Error as the class below.
int32_t argmax(std::span<const float> logits);

class LogitRow {
 public:
  /// Reads the row once. Throws Error for NaN or +infinity, or if every logit is -infinity. The
  /// memory must outlive this.
  explicit LogitRow(std::span<const float> logits);

  static constexpr size_t kBlock = 64;

  std::span<const float> logits() const { return logits_; }
  float max() const { return max_; }
  /// exp((logit - max) * scale), at most 1. `scale` is 1 / temperature.
  float weight(size_t id, float scale) const {
    return exp_nonpositive(std::max((logits_[id] - max_) * scale, -104.0f));
  }
  size_t blocks() const { return block_max_.size(); }
  std::span<const float> block(size_t index) const {
    const size_t begin = index * kBlock;
    return logits_.subspan(begin, std::min(kBlock, logits_.size() - begin));
  }
  float block_max(size_t index) const { return block_max_[index]; }
  /// The sum of a block's weights.
  float block_weight(size_t index, float scale) const;
  double total_weight(float scale) const;

  struct Entry {
    int32_t id;
    float logit;
  };
  /// The `k` largest (all if there are fewer), descending, equal ones by id.
  std::vector<Entry> largest(size_t k) const;

 private:
  std::span<const float> logits_;
  std::vector<float> block_max_;
  float max_;
};

}  // namespace um
