// Choosing the next token from logits: temperature, top-k, top-p and min-p, in that order, as
// Hugging Face and vLLM apply them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"

namespace um {

struct SamplingOptions {
  double temperature = 1.0;  ///< divides the logits; 0 takes the most likely token
  int64_t top_k = 0;         ///< keep the k most likely; 0 = all
  double top_p = 1.0;        ///< keep the fewest most likely tokens that have this share together
  double min_p = 0.0;        ///< keep tokens at least this likely, relative to the most likely one

  /// Throws UsageError naming the option whose value makes no sense.
  void check() const;
};

struct Candidate {
  int32_t id = 0;
  double probability = 0;
};

/// The distribution that is drawn from: the kept tokens, with probabilities that sum to 1. Sorted
/// by probability where top-k or top-p is on, else by id. Of tokens with equal logits the lower ids
/// are kept. For temperature > 0. Throws Error for NaN or +infinity, or if every logit is
/// -infinity.
std::vector<Candidate> candidates(std::span<const float> logits, const SamplingOptions& options);

/// The token with the largest logit, the lowest id of equals. Errors as above.
int32_t greedy(std::span<const float> logits);

/// Draws token number `step` of a generation: a pure function of logits, options, stream and step.
int32_t sample(std::span<const float> logits, const SamplingOptions& options,
               const RandomStream& random, uint64_t step);

}  // namespace um
