// See loop_detector.h.
#include "engine/loop_detector.h"

#include <algorithm>
#include <utility>

#include "core/rng.h"

namespace um {
namespace {

constexpr size_t kWindow = 8;      // tokens that must come back before a period is looked at
constexpr size_t kRepeats = 4;     // blocks that make a loop,
constexpr size_t kShortest = 48;   // of so many tokens together at least
constexpr int kPeriodsTried = 16;  // a window may come back within the block itself
constexpr uint64_t kBase = 0x9e3779b97f4a7c15u;

}  // namespace

uint64_t LoopDetector::hash(size_t begin, size_t end) const {
  return prefix_[end] - prefix_[begin] * powers_[end - begin];
}

void LoopDetector::push(int32_t id) {
  ids_.push_back(id);
  prefix_.push_back(prefix_.back() * kBase + mix64(static_cast<uint64_t>(id)));
  powers_.push_back(powers_.back() * kBase);
  const size_t n = ids_.size();
  int32_t before = -1;
  if (n >= kWindow) {
    const auto [at, is_new] = last_.try_emplace(hash(n - kWindow, n), static_cast<int32_t>(n));
    if (!is_new) before = std::exchange(at->second, static_cast<int32_t>(n));
  }
  earlier_.push_back(before);
}

void LoopDetector::pop() {
  const size_t n = ids_.size();
  if (n >= kWindow) {
    const uint64_t window = hash(n - kWindow, n);
    if (earlier_.back() < 0)
      last_.erase(window);
    else
      last_[window] = earlier_.back();
  }
  ids_.pop_back();
  prefix_.pop_back();
  powers_.pop_back();
  earlier_.pop_back();
}

/// Are the last `length` tokens those that stand `period` before them?
bool LoopDetector::repeats_with(size_t period, size_t length) const {
  const size_t n = ids_.size();
  if (length + period > n) return false;
  if (hash(n - length, n) != hash(n - length - period, n - period)) return false;
  const auto begin = ids_.end() - static_cast<std::ptrdiff_t>(length);
  return std::equal(begin, ids_.end(), begin - static_cast<std::ptrdiff_t>(period));
}

std::optional<LoopDetector::Loop> LoopDetector::loop() const {
  const size_t n = ids_.size();
  if (n < kShortest) return std::nullopt;
  int32_t at = earlier_.back();
  for (int tried = 0; at >= 0 && tried < kPeriodsTried; ++tried) {
    const size_t period = n - static_cast<size_t>(at);
    const size_t repeats = std::max(kRepeats, (kShortest + period - 1) / period);
    if (repeats_with(period, (repeats - 1) * period))
      return Loop{static_cast<int64_t>(period), static_cast<int64_t>(repeats), ids_[n - period]};
    at = earlier_[static_cast<size_t>(at) - 1];
  }
  return std::nullopt;
}

}  // namespace um
