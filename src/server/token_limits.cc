// See token_limits.h.
#include "server/token_limits.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace um {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

class LimitedTokens : public Constraint {
 public:
  LimitedTokens(std::unique_ptr<Constraint> inner, TokenLimits limits)
      : inner_(std::move(inner)), limits_(std::make_shared<const TokenLimits>(std::move(limits))) {
    for (const auto& sequence : limits_->bad) longest_ = std::max(longest_, sequence.size());
  }
  LimitedTokens(const LimitedTokens& other)
      : inner_(other.inner_ == nullptr ? nullptr : other.inner_->clone()),
        limits_(other.limits_),
        recent_(other.recent_),
        longest_(other.longest_) {}

  void mask(std::span<float> logits) override {
    if (inner_ != nullptr) inner_->mask(logits);
    const std::vector<float> before(logits.begin(), logits.end());
    if (!limits_->allowed.empty()) {
      std::fill(logits.begin(), logits.end(), kNever);
      for (const int32_t id : limits_->allowed)
        logits[static_cast<size_t>(id)] = before[static_cast<size_t>(id)];
    }
    for (const std::vector<int32_t>& sequence : limits_->bad)
      if (static_cast<size_t>(sequence.back()) < logits.size() && ends_with_start_of(sequence))
        logits[static_cast<size_t>(sequence.back())] = kNever;
    if (std::all_of(logits.begin(), logits.end(), [](float x) { return x == kNever; }))
      std::copy(before.begin(), before.end(), logits.begin());
  }

  void accept(int32_t id) override {
    if (inner_ != nullptr) inner_->accept(id);
    if (longest_ < 2) return;
    recent_.push_back(id);
    if (recent_.size() >= longest_) recent_.erase(recent_.begin());
  }

  std::unique_ptr<Constraint> clone() const override {
    return std::make_unique<LimitedTokens>(*this);
  }

 private:
  /// Whether all tokens of the sequence but its last one came just now.
  bool ends_with_start_of(const std::vector<int32_t>& sequence) const {
    const size_t start = sequence.size() - 1;
    return recent_.size() >= start &&
           std::equal(sequence.begin(), sequence.end() - 1,
                      recent_.end() - static_cast<std::ptrdiff_t>(start));
  }

  std::unique_ptr<Constraint> inner_;
  std::shared_ptr<const TokenLimits> limits_;
  std::vector<int32_t> recent_;  // one less than the longest sequence has
  size_t longest_ = 0;
};

}  // namespace

std::unique_ptr<Constraint> limit_tokens(std::unique_ptr<Constraint> inner, TokenLimits limits) {
  if (limits.empty()) return inner;
  return std::make_unique<LimitedTokens>(std::move(inner), std::move(limits));
}

}  // namespace um
