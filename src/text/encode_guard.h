// What one call of Tokenizer::encode may cost: how many ids it may give, and who may stop it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/error.h"
#include "text/tokenizer.h"

namespace um {

/// Asked by everything that encodes, as it goes on. Belongs to one call.
class EncodeGuard {
 public:
  explicit EncodeGuard(const EncodeBounds& bounds) : bounds_(bounds) {}

  /// `ids` so far; a word, or some hundred steps of a long one, lie between two calls. Throws
  /// TooManyTokens or EncodeStopped.
  void check(size_t ids) {
    if (bounds_.max_tokens >= 0 && ids > static_cast<size_t>(bounds_.max_tokens))
      throw TooManyTokens(fmt::format("the text has more than {} tokens", bounds_.max_tokens));
    if (bounds_.stopped && ++calls_ % kCalls == 0 && bounds_.stopped())
      throw EncodeStopped("encoding was stopped");
  }

 private:
  static constexpr uint32_t kCalls = 1024;
  const EncodeBounds& bounds_;
  uint32_t calls_ = 0;
};

}  // namespace um
