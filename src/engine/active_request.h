// ActiveRequest: a request the engine has taken, with all that it knows of it.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "engine/drafts.h"
#include "engine/engine.h"
#include "engine/penalties.h"

namespace um {

using Clock = std::chrono::steady_clock;

inline double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

struct ActiveRequest {
  /// `vocab`: the number of logits. Throws UsageError for bad sampling options.
  ActiveRequest(uint64_t id_, EngineRequest request_, std::shared_ptr<RequestSink> sink_,
                int64_t vocab)
      : id(id_),
        request(std::move(request_)),
        sink(std::move(sink_)),
        tokens(request.prompt),
        prompt_rows(static_cast<int64_t>(tokens.size())),
        penalties(request.sampling, request.prompt, vocab),
        random(request.seed, hash_name("sampler")) {
    stats.prompt_tokens = prompt_rows;
  }

  const uint64_t id;
  const EngineRequest request;
  const std::shared_ptr<RequestSink> sink;

  std::vector<int32_t> tokens;  ///< the prompt and what was generated
  const int64_t prompt_rows;
  int64_t cached = 0;           ///< rows in the cache: of the tokens [0, cached)
  std::vector<int32_t> pages;   ///< where they are
  std::vector<int32_t> drafts;  ///< guesses for the tokens that come next
  int64_t draft_cached = 0;     ///< rows in the draft model's cache, in the same pages
  AcceptanceRecord acceptance;
  Penalties penalties;  ///< of the tokens chosen so far

  bool done = false;  ///< to be taken out at the end of the step
  FinishReason reason = FinishReason::max_tokens;
  std::string error;
  const RandomStream random;
  RequestStats stats;
  Clock::time_point arrived = Clock::now(), admitted, first_token;

  /// Tokens that it can come to, of at most `limit`.
  int64_t most_tokens(int64_t limit) const {
    return prompt_rows + std::min(request.max_tokens, limit - prompt_rows);
  }
  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t generated() const { return length() - prompt_rows; }
  /// Rows from the cache would not do.
  bool needs_every_row() const { return request.routed_experts || request.reader != nullptr; }
  bool in_prompt() const { return cached < prompt_rows; }
  /// All but the last token are in the cache: the next forward gives the next token.
  bool decoding() const { return !in_prompt() && cached + 1 == length(); }

  void finish(FinishReason why, std::string message = {}) {
    if (done) return;
    done = true;
    reason = why;
    error = std::move(message);
  }
};

}  // namespace um
