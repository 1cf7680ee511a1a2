// See logit_row.h.
#include "engine/logit_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace um {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The largest of `values`; `bad` becomes nonzero if one is NaN or +infinity.
float checked_max(std::span<const float> values, int& bad) {
  float largest = -kInfinity;
  int wrong = 0;
  const float* x = values.data();
  const size_t n = values.size();
#pragma omp simd reduction(max : largest) reduction(| : wrong)
  for (size_t i = 0; i < n; ++i) {
    largest = x[i] > largest ? x[i] : largest;
    wrong |= x[i] < kInfinity ? 0 : 1;
  }
  bad |= wrong;
  // A max reduction may begin at the least finite number (clang's does), which hides -infinity.
  if (largest > std::numeric_limits<float>::lowest()) return largest;
  return values.empty() ? -kInfinity : *std::max_element(values.begin(), values.end());
}

/// Says which logit is wrong.
[[noreturn]] void refuse(std::span<const float> logits) {
  UM_CHECK(!logits.empty(), "sampling: no logits");
  for (size_t i = 0; i < logits.size(); ++i) {
    UM_CHECK(logits[i] < kInfinity,
             "sampling: the logit of token {} is {}; the model's weights are damaged or its "
             "training has diverged",
             i, logits[i]);
  }
  fail("sampling: every logit is -infinity");
}

}  // namespace

int32_t argmax(std::span<const float> logits) {
  constexpr size_t kStride = 1024;
  float best = -kInfinity;
  size_t where = 0;
  int bad = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kStride) {
    const float largest =
        checked_max(logits.subspan(begin, std::min(kStride, logits.size() - begin)), bad);
    if (largest > best) best = largest, where = begin;
  }
  if (bad != 0 || best == -kInfinity) refuse(logits);
  while (logits[where] != best) ++where;
  return static_cast<int32_t>(where);
}

LogitRow::LogitRow(std::span<const float> logits) : logits_(logits), max_(-kInfinity) {
  block_max_.resize((logits.size() + kBlock - 1) / kBlock);
  int bad = 0;
  for (size_t i = 0; i < block_max_.size(); ++i) {
    block_max_[i] = checked_max(block(i), bad);
    max_ = std::max(max_, block_max_[i]);
  }
  if (bad != 0 || max_ == -kInfinity) refuse(logits);
}

float LogitRow::block_weight(size_t index, float scale) const {
  const std::span<const float> values = block(index);
  const float* x = values.data();
  const size_t n = values.size();
  const float largest = max_;
  // Two loops: gcc would branch around the second for what the first has cut off.
  std::array<float, kBlock> exponents;
#pragma omp simd
  for (size_t i = 0; i < n; ++i) {
    const float exponent = (x[i] - largest) * scale;
    exponents[i] = exponent > -104.0f ? exponent : -104.0f;
  }
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; ++i) sum += exp_nonpositive(exponents[i]);
  return sum;
}

double LogitRow::total_weight(float scale) const {
  double total = 0;
  for (size_t i = 0; i < blocks(); ++i) total += static_cast<double>(block_weight(i, scale));
  return total;
}

std::vector<LogitRow::Entry> LogitRow::largest(size_t k) const {
  const auto before = [](const Entry& a, const Entry& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  k = std::min(k, logits_.size());
  // The k-th largest of the blocks' maxima is a bound below the k-th largest logit.
  float bound = -kInfinity;
  if (k > 0 && k <= blocks()) {
    std::vector<float> maxima = block_max_;
    const auto at = maxima.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(maxima.begin(), at, maxima.end(), std::greater<>());
    bound = *at;
  }
  std::vector<Entry> entries;
  for (size_t b = 0; b < blocks(); ++b) {
    if (block_max_[b] < bound) continue;
    for (size_t i = b * kBlock; i < std::min((b + 1) * kBlock, logits_.size()); ++i)
      if (logits_[i] >= bound) entries.push_back({static_cast<int32_t>(i), logits_[i]});
  }
  const auto end = entries.begin() + static_cast<std::ptrdiff_t>(k);
  if (end != entries.end()) std::nth_element(entries.begin(), end, entries.end(), before);
  entries.resize(k);
  std::sort(entries.begin(), entries.end(), before);
  return entries;
}

}  // namespace um
