// See answer_constraint.h.
#include "server/answer_constraint.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace um {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::unique_ptr<Constraint> copy(const std::unique_ptr<Constraint>& constraint) {
  return constraint == nullptr ? nullptr : constraint->clone();
}

/// Leaves only these tokens.
void allow_only(std::span<float> logits, std::span<const int32_t> ids) {
  std::vector<float> kept;
  for (const int32_t id : ids) kept.push_back(logits[static_cast<size_t>(id)]);
  std::fill(logits.begin(), logits.end(), kNever);
  for (size_t i = 0; i < ids.size(); ++i) logits[static_cast<size_t>(ids[i])] = kept[i];
}

class AnswerConstraint : public Constraint {
 public:
  explicit AnswerConstraint(AnswerRules rules)
      : rules_(std::make_shared<const AnswerRules>(std::move(rules))),
        part_(rules_->begun && rules_->marks.think_close >= 0 ? Part::kThinking : Part::kStart),
        content_(copy(rules_->content)) {}
  AnswerConstraint(const AnswerConstraint& other)
      : rules_(other.rules_),
        part_(other.part_),
        thought_(other.thought_),
        content_(copy(other.content_)),
        calls_(copy(other.calls_)) {}

  void mask(std::span<float> logits) override {
    switch (part_) {
      case Part::kStart:
        return mask_start(logits);
      case Part::kThinking:
        return mask_thinking(logits);
      case Part::kContent:
        if (content_ != nullptr) content_->mask(logits);
        return;
      case Part::kCalls:
        return calls_->mask(logits);
    }
  }

  void accept(int32_t id) override {
    if (part_ == Part::kThinking) {
      ++thought_;
      if (id == rules_->marks.think_close) part_ = Part::kContent;
    } else if (part_ == Part::kCalls) {
      calls_->accept(id);
      if (id == rules_->call_close) part_ = Part::kContent;
    } else {
      accept_content(id);
    }
  }

  std::unique_ptr<Constraint> clone() const override {
    return std::make_unique<AnswerConstraint>(*this);
  }

 private:
  enum class Part { kStart, kThinking, kContent, kCalls };

  bool held() const { return rules_->content != nullptr; }
  bool may_think() const {
    return rules_->marks.think_open >= 0 && rules_->marks.think_close >= 0 &&
           rules_->thinking_budget != 0 && (rules_->thinking || !held());
  }

  /// The answer may begin with thinking, or at once.
  void mask_start(std::span<float> logits) {
    const int32_t open = rules_->marks.think_open;
    const float logit = open >= 0 ? logits[static_cast<size_t>(open)] : kNever;
    part_ = Part::kContent;
    mask(logits);
    part_ = Part::kStart;
    if (open >= 0) logits[static_cast<size_t>(open)] = may_think() ? logit : kNever;
  }

  void mask_thinking(std::span<float> logits) {
    const int64_t budget = rules_->thinking_budget;
    if (budget >= 0 && thought_ >= budget)
      return allow_only(logits, {&rules_->marks.think_close, 1});
    if (!held()) return;
    // There must be an answer behind the thinking.
    for (const int32_t id : rules_->eos) logits[static_cast<size_t>(id)] = kNever;
  }

  void accept_content(int32_t id) {
    if (id >= 0 && id == rules_->marks.think_open && (part_ == Part::kStart || !held())) {
      part_ = Part::kThinking;
      return;
    }
    part_ = Part::kContent;
    if (id >= 0 && id == rules_->call_open && rules_->calls != nullptr) {
      part_ = Part::kCalls;
      calls_ = copy(rules_->calls);
    } else if (content_ != nullptr) {
      content_->accept(id);
    }
  }

  std::shared_ptr<const AnswerRules> rules_;
  Part part_;
  int64_t thought_ = 0;
  std::unique_ptr<Constraint> content_, calls_;
};

}  // namespace

std::unique_ptr<Constraint> make_answer_constraint(AnswerRules rules) {
  const bool nothing = rules.content == nullptr && rules.calls == nullptr &&
                       (rules.thinking_budget < 0 || rules.marks.think_close < 0);
  if (nothing) return nullptr;
  return std::make_unique<AnswerConstraint>(std::move(rules));
}

}  // namespace um
