// See penalties.h.
#include "engine/penalties.h"

#include "core/error.h"

namespace um {

Penalties::Penalties(const SamplingOptions& options, std::span<const int32_t> prompt, int64_t vocab)
    : repetition_(static_cast<float>(options.repetition_penalty)),
      presence_(static_cast<float>(options.presence_penalty)),
      frequency_(static_cast<float>(options.frequency_penalty)),
      loop_(static_cast<float>(options.loop_penalty)),
      bias_(options.logit_bias) {
  options.check();
  for (const TokenBias& bias : bias_) {
    if (bias.id >= vocab)
      throw UsageError(
          fmt::format("logit-bias of token {}: the vocabulary has {}", bias.id, vocab));
  }
  counts_on_ = repetition_ != 1 || presence_ != 0 || frequency_ != 0;
  active_ = counts_on_ || loop_ != 0 || !bias_.empty();
  if (repetition_ == 1) return;
  for (const int32_t id : prompt) count_of(id).in_prompt = true;
}

Penalties::Count& Penalties::count_of(int32_t id) {
  const auto [at, is_new] = places_.try_emplace(id, counts_.size());
  if (is_new) counts_.push_back({id, false, 0});
  return counts_[at->second];
}

void Penalties::add(int32_t id) {
  if (counts_on_) ++count_of(id).generated;
  if (loop_ != 0) detector_.push(id);
}

void Penalties::take_back(int32_t id) {
  if (counts_on_) --count_of(id).generated;
  if (loop_ != 0) detector_.pop();
}

std::optional<LoopDetector::Loop> Penalties::loop() const {
  return loop_ != 0 ? detector_.loop() : std::nullopt;
}

void Penalties::apply(std::span<float> logits) const {
  for (const TokenBias& bias : bias_) logits[static_cast<size_t>(bias.id)] += bias.bias;
  for (const Count& count : counts_) {
    if (!count.in_prompt && count.generated == 0) continue;  // a draft taken back
    float& logit = logits[static_cast<size_t>(count.id)];
    if (repetition_ != 1) logit = logit > 0 ? logit / repetition_ : logit * repetition_;
    if (count.generated == 0) continue;
    logit -= frequency_ * static_cast<float>(count.generated) + presence_;
  }
  if (const auto loop = this->loop()) logits[static_cast<size_t>(loop->next)] -= loop_;
}

}  // namespace um
