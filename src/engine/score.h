// What a model thinks of a text that is already there: the log-probability of each of its tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "models/model.h"

namespace um {

/// Gives `output` the log-probability of its token, and the `top` most likely ones. Of the model's
/// own logits, before anything changes them.
void add_logprobs(std::span<const float> logits, int64_t top, TokenOutput& output);

/// Every token of `ids` with its log-probability behind those before it, and the `top` most likely
/// ones at its place. Nothing stands before the first: it has a logprob of 0 and no others.
std::vector<TokenOutput> score_tokens(const Model& model, std::span<const int32_t> ids,
                                      int64_t top);

}  // namespace um
