// Choosing the next token from logits: temperature, top-k, top-p, min-p and typical, in that order,
// as Hugging Face and vLLM apply them. Penalties and biases come before (penalties.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"

namespace um {

struct TokenBias {
  int32_t id = 0;
  float bias = 0;
};

struct SamplingOptions {
  double temperature = 1.0;  ///< divides the logits; 0 takes the most likely token
  int64_t top_k = 0;         ///< keep the k most likely; 0 = all
  double top_p = 1.0;        ///< keep the fewest most likely tokens that have this share together
  double min_p = 0.0;        ///< keep tokens at least this likely, relative to the most likely one
  /// Keep the fewest tokens with this share whose surprise is nearest to the mean surprise
  /// (Meister et al. 2023, "Locally typical sampling"); 1 = off.
  double typical_p = 1.0;

  // The rest changes logits (penalties.h) and also counts at temperature 0.
  double repetition_penalty =
      1.0;                         ///< tokens of prompt and answer: positive logits / x, others * x
  double presence_penalty = 0.0;   ///< taken off the logits of tokens that the answer has
  double frequency_penalty = 0.0;  ///< taken off as often as the answer has the token
  /// Taken off the logit of the token that would carry on a loop (loop_detector.h); 0 = off.
  double loop_penalty = 0.0;
  std::vector<TokenBias> logit_bias = {};  ///< added to logits, before the penalties

  /// Throws UsageError naming the option whose value makes no sense.
  void check() const;
};

struct Candidate {
  int32_t id = 0;
  double probability = 0;
};

/// The distribution that is drawn from: the kept tokens, with probabilities that sum to 1. Sorted
/// by probability where top-k or top-p is on, by typicality where that is, else by id. Of tokens
/// with equal logits the lower ids are kept. For temperature > 0. Throws Error for NaN or
/// +infinity, or if every logit is -infinity.
std::vector<Candidate> candidates(std::span<const float> logits, const SamplingOptions& options);

/// The token with the largest logit, the lowest id of equals. Errors as above.
int32_t greedy(std::span<const float> logits);

/// Draws token number `step` of a generation: a pure function of logits, the options up to
/// typical_p, stream and step.
int32_t sample(std::span<const float> logits, const SamplingOptions& options,
               const RandomStream& random, uint64_t step);

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;  ///< natural log of the probability at temperature 1
};

/// log Σ exp(logits): what is subtracted from a logit to give its log-probability. Errors as above.
double log_sum_exp(std::span<const float> logits);
/// Of the model's own logits, before biases and penalties, as OpenAI and vLLM report it.
float log_probability(std::span<const float> logits, int32_t id);
/// The `k` most likely tokens (fewer if the vocabulary is smaller), descending, equal ones by id;
/// `log_sum` is log_sum_exp(logits).
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int64_t k, double log_sum);

}  // namespace um
