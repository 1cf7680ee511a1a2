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

  /// `ids` so far, after `work` words or steps of a long one. Throws TooManyTokens or
  /// EncodeStopped.
  void check(size_t ids, uint32_t work = 1) {
    if (bounds_.max_tokens >= 0 && ids > static_cast<size_t>(bounds_.max_tokens))
      throw TooManyTokens(fmt::format("the text has more than {} tokens", bounds_.max_tokens));
    work_ += work;
    if (work_ < kWork || !bounds_.stopped) return;
    work_ = 0;
    if (bounds_.stopped()) throw EncodeStopped("encoding was stopped");
  }

 private:
  static constexpr uint32_t kWork = 4096;
  const EncodeBounds& bounds_;
  uint32_t work_ = 0;
};

}  // namespace um
