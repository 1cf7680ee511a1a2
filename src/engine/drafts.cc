// See drafts.h.
#include "engine/drafts.h"

#include <algorithm>

namespace um {
namespace {

constexpr size_t kLongestGram = 4, kShortestGram = 2;
constexpr double kTimeWeight = 0.1, kAcceptWeight = 0.05;  // of the newest measurement

}  // namespace

std::vector<int32_t> ngram_drafts(std::span<const int32_t> text, int64_t count) {
  for (size_t n = kLongestGram; n >= kShortestGram; --n) {
    if (text.size() <= n || count <= 0) continue;
    const auto gram = text.last(n);
    for (size_t begin = text.size() - n; begin-- > 0;) {
      if (text[begin] != gram[0] || !std::ranges::equal(text.subspan(begin, n), gram)) continue;
      const auto found = text.subspan(begin + n);
      const auto taken = found.first(std::min(found.size(), static_cast<size_t>(count)));
      return {taken.begin(), taken.end()};
    }
  }
  return {};
}

void StepTimes::add(int64_t rows, double seconds) {
  const auto i = static_cast<size_t>(rows);
  if (mean_.size() <= i) mean_.resize(i + 1, 0);
  mean_[i] = mean_[i] == 0 ? seconds : mean_[i] + kTimeWeight * (seconds - mean_[i]);
}

double StepTimes::expected(int64_t rows) const {
  const auto at = static_cast<size_t>(rows);
  size_t below = 0, above = 0;  // the nearest that were seen
  for (size_t i = 1; i < mean_.size(); ++i) {
    if (mean_[i] == 0) continue;
    if (i <= at) below = i;
    if (i >= at && above == 0) above = i;
  }
  if (below == 0 && above == 0) return 0;
  // Fewer rows than ever seen cost the same; more are hoped to cost the same until they are tried.
  if (below == 0) return mean_[above];
  if (above == 0 || above == below) return mean_[below];
  const double part = static_cast<double>(at - below) / static_cast<double>(above - below);
  return mean_[below] + part * (mean_[above] - mean_[below]);
}

void AcceptanceRecord::add(int64_t offered, int64_t accepted) {
  if (std::ssize(rate_) < offered) rate_.resize(static_cast<size_t>(offered), kPrior);
  for (int64_t i = 0; i < std::min(offered, accepted + 1); ++i) {
    double& rate = rate_[static_cast<size_t>(i)];
    rate += kAcceptWeight * ((i < accepted ? 1.0 : 0.0) - rate);
  }
}

double AcceptanceRecord::expected_tokens(int64_t drafts) const {
  double tokens = 1, all = 1;
  for (int64_t i = 0; i < drafts; ++i) {
    all *= i < std::ssize(rate_) ? rate_[static_cast<size_t>(i)] : kPrior;
    tokens += all;
  }
  return tokens;
}

int64_t best_draft_count(const AcceptanceRecord& record, const StepTimes& times, int64_t others,
                         int64_t most, double draft_s) {
  int64_t best = 0;
  double best_rate = 0;
  for (int64_t k = 0; k <= most; ++k) {
    // The others' tokens of the step count too: a longer step holds them up.
    const double tokens = record.expected_tokens(k) + static_cast<double>(others);
    const double seconds = times.expected(others + 1 + k) + static_cast<double>(k) * draft_s;
    if (seconds == 0) return most;
    if (tokens / seconds <= best_rate) continue;
    best_rate = tokens / seconds;
    best = k;
  }
  return best;
}

}  // namespace um
