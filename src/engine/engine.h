// Engine: many requests on one model at once. Continuous batching over a paged cache, with chunked
// prefill, prefix reuse, preemption and speculative decoding. The tokens of a request do not depend
// on what else the engine is doing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/constraint.h"
#include "engine/sampler.h"
#include "models/model.h"

namespace um {

enum class FinishReason { eos, stop, max_tokens, context, cancelled, error };
/// "eos", "stop", "length", "context", "cancelled" or "error".
std::string_view finish_reason_name(FinishReason reason);

/// Sees the trunk's output for the rows of a prompt, in order and in pieces, on the engine's
/// thread: for embeddings and scores.
class PromptReader {
 public:
  virtual ~PromptReader() = default;
  /// The rows from `begin` on, [rows, D]; from 0 again where the request was set back.
  virtual void on_rows(int64_t begin, const Tensor& hidden) = 0;
};

struct EngineRequest {
  std::vector<int32_t> prompt;  ///< at least one token
  SamplingOptions sampling = {};
  uint64_t seed = 0;
  int64_t max_tokens = 256;       ///< generated at most, the ending token included
  int64_t min_tokens = 0;         ///< no `eos` before, unless a constraint leaves nothing else
  std::vector<int32_t> eos = {};  ///< generation ends at any of these tokens
  int64_t top_logprobs = -1;      ///< -1: none; k: the chosen token's and the k largest
  int priority = 0;               ///< higher first; equal ones by arrival
  bool speculate = true;          ///< drafts may be used (the tokens are the same)
  bool routed_experts = false;    ///< report every row's experts (to train with the same routes)
  /// Sees the prompt's rows, all of which are run; then the request ends: no token is generated.
  std::shared_ptr<PromptReader> reader = {};
  std::shared_ptr<Constraint> constraint = {};  ///< which tokens are allowed; may be null
};

/// One generated token.
struct TokenOutput {
  int32_t id = 0;
  float logprob = 0;                   ///< natural log of its probability at temperature 1
  std::vector<TokenLogprob> top = {};  ///< descending; as many as the request asked for
};

/// What a finished request took.
struct RequestStats {
  int64_t prompt_tokens = 0, cached_tokens = 0;
  int64_t generated_tokens = 0;       ///< with the one that ended it, or completed a stop string
  int64_t drafted = 0, accepted = 0;  ///< speculative tokens
  int64_t preemptions = 0;
  std::optional<TokenOutput> end = {};  ///< of FinishReason::eos: the token that ended it
  /// If asked for: the experts of all rows but the last token's, [rows, moe layers, top_k].
  std::vector<int16_t> routed_experts = {};
  double queue_s = 0, prefill_s = 0, decode_s = 0;  ///< waiting; to the first token; after it
};

/// Where a request's tokens go. All calls come from the thread that runs the engine; they must
/// be quick and not throw.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /// New tokens in order (several where drafts were accepted); the ending token is not among them.
  /// Returns how many of them the request keeps: fewer than given ends it (FinishReason::stop).
  virtual size_t on_tokens(std::span<const TokenOutput> tokens) = 0;
  /// Last call. `error` says what happened for FinishReason::error.
  virtual void on_finish(FinishReason reason, const RequestStats& stats,
                         std::string_view error) = 0;
};

/// Of the free memory, what a pool of a size that nobody asked for may take.
inline constexpr double kCacheShare = 0.5;

struct EngineOptions {
  int64_t cache_tokens = 0;  ///< rows of the KV pool; 0: one context, at least 8192 rows, within
                             ///< kCacheShare of the free memory
  std::optional<DType> cache_type = {};  ///< f32, bf16, or i8 with a scale per 64 channels;
                                         ///< nothing: Model::default_cache_type
  int64_t free_memory = 0;               ///< bytes that the pool has to fit; 0: what is free now
  int64_t context = 0;                   ///< longest prompt + answer; 0: the model's
  int64_t max_batch = 64;                ///< requests in one forward
  int64_t prefill_rows = 512;            ///< prompt rows in one forward, at most
  double prefill_slice_s = 0.1;  ///< while others decode: prompt rows for about so long at once
  int64_t max_queue = 1024;      ///< waiting requests; more are refused
  int64_t draft_tokens = -1;     ///< per request and step; -1: as many as there are MTP heads
  bool ngram_drafts = false;     ///< drafts from the text so far where there are no heads
  const Model* draft_model = nullptr;  ///< a small model of the same tokenizer, in place of heads;
                                       ///< must outlive the engine
  bool adapt_drafts = true;  ///< fewer where they do not pay, by acceptance and measured time
  bool prefix_cache = true;
};

/// A snapshot for metrics; counters only grow.
struct EngineStats {
  int64_t running = 0, waiting = 0;
  int64_t cache_rows = 0, cache_rows_used = 0, cache_rows_cached = 0;
  int64_t prompt_tokens = 0, cached_prompt_tokens = 0, generated_tokens = 0;
  int64_t finished = 0, preemptions = 0;
  int64_t steps = 0, drafts = 0, draft_tokens = 0;
  std::vector<int64_t> accepted_at = {};       ///< accepted drafts by their place (from 0)
  double step_s = 0, forward_s = 0;            ///< forward_s: inside the model
  int64_t expert_hits = 0, expert_misses = 0;  ///< where experts stay on disk (nn/expert_cache.h)
};

/// Thrown by submit when the queue is full or the engine is draining.
class BusyError : public Error {
 public:
  using Error::Error;
};

class Engine {
 public:
  /// The model must outlive this. Throws Error where the pool does not fit the free memory.
  Engine(const Model& model, EngineOptions options);
  ~Engine();

  /// Takes a request from any thread and returns its id. Throws Error for a prompt that is empty,
  /// has ids outside the vocabulary or can never fit, UsageError for bad options, BusyError.
  uint64_t submit(EngineRequest request, std::shared_ptr<RequestSink> sink);
  /// Ends a request at the next step, from any thread; unknown ids are ignored.
  void cancel(uint64_t id);
  /// From now on submit throws BusyError; what is there finishes.
  void drain();

  /// One scheduling decision and one forward. False when there was nothing to do.
  bool step();
  /// Steps until `stop()`; sleeps while there is nothing to do. For a thread of its own.
  void run();
  /// Makes run() return after its present step; open requests are finished as cancelled.
  void stop();
  /// Steps until nothing is running or waiting.
  void run_until_idle();

  /// Must be called after the model's weights, or the draft model's, were changed in place, and
  /// those may be changed between two steps only: throws Error during a step. Drops all that was
  /// computed with the weights before: kept prefixes, the rows of open requests, attention sinks.
  /// Open requests go on from the tokens they have, whose rows (and reported experts) are computed
  /// anew, and count a preemption; the log-probabilities that they were given stay. So an update
  /// waits for nobody, and what is sampled after it is sampled from the new weights alone.
  void weights_changed();

  EngineStats stats() const;  ///< from any thread
  const EngineOptions& options() const;
  const Model& model() const;
  /// "KV cache of 8192 tokens in bf16: 9.4 MB, 0.1% of the free memory; context of 4096".
  std::string describe_cache() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace um
