// allowed_token_ids and bad_words: tokens that an answer may have at all, and sequences of tokens
// that it may not have.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/constraint.h"

namespace um {

struct TokenLimits {
  std::vector<int32_t> allowed = {};           ///< empty: all
  std::vector<std::vector<int32_t>> bad = {};  ///< none of them empty
  bool empty() const { return allowed.empty() && bad.empty(); }
};

/// `inner` (may be null) within these limits. Where both together leave no token, `inner` wins.
std::unique_ptr<Constraint> limit_tokens(std::unique_ptr<Constraint> inner, TokenLimits limits);

}  // namespace um
