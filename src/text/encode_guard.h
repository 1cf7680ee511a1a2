// What one call of Tokenizer::encode may cost: how many ids it may give; and it can be stopped.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/error.h"
#include "core/stop_scope.h"
#include "text/tokenizer.h"

namespace um {

/// Asked by everything that encodes, as it goes on. Belongs to one call.
class EncodeGuard {
 public:
  explicit EncodeGuard(const EncodeBounds& bounds) : bounds_(bounds) {}

  /// `ids` so far, after `work` words or steps of a long one. Throws TooManyTokens or Stopped.
  void check(size_t ids, uint32_t work = 1) {
    if (bounds_.max_tokens >= 0 && ids > static_cast<size_t>(bounds_.max_tokens))
      throw TooManyTokens(fmt::format("the text has more than {} tokens", bounds_.max_tokens));
    check_stop(work);
  }

 private:
  const EncodeBounds& bounds_;
};

}  // namespace um
