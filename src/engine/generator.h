// Generating text: prefill of a prompt, then one token at a time on the KV cache. A Sequence keeps
// the cache between calls, so that the next turn of a chat only runs what is new.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace um {

/// The tokens of one sequence and what attention remembers of them. A prompt's tokens and generated
/// ones take different forms of attention, equal up to rounding (nn/kv_pool.h).
class Sequence {
 public:
  /// Room for `capacity` tokens; at most the model's context. The model must outlive this.
  Sequence(const Model& model, int64_t capacity);

  /// Forgets all tokens behind the common beginning of what is here and `ids`, behind the last but
  /// one of `ids`, and those not run as a prompt. Returns how many stay.
  int64_t keep_common(std::span<const int32_t> ids);
  /// Runs a prompt's `ids` (at least one) behind what is here and returns the logits [V] after the
  /// last. Throws Error if they do not fit.
  std::vector<float> append(std::span<const int32_t> ids) { return run(ids, true); }
  /// The same for tokens that were generated.
  std::vector<float> append_generated(std::span<const int32_t> ids) { return run(ids, false); }

  int64_t length() const { return static_cast<int64_t>(ids_.size()); }
  int64_t capacity() const { return capacity_; }
  const Model& model() const { return model_; }

 private:
  std::vector<float> run(std::span<const int32_t> ids, bool prompt);

  const Model& model_;
  int64_t capacity_;
  KvPool pool_;
  std::vector<int32_t> pages_;
  std::vector<int32_t> ids_;
  int64_t prompt_rows_ = 0;  ///< of ids_, those at the beginning that were run as a prompt
};

struct GenerateOptions {
  SamplingOptions sampling = {};
  uint64_t seed = 0;
  int64_t max_tokens = 256;
  std::vector<std::string> stop = {};  ///< generation ends before any of these texts
  std::vector<int32_t> eos = {};       ///< generation ends at any of these tokens
  bool skip_special = true;            ///< leave special tokens out of the text
};

struct Generation {
  std::vector<int32_t> tokens;  ///< without the end-of-text token
  std::string text;             ///< without the stop string
  FinishReason reason = FinishReason::max_tokens;
  int64_t prompt_tokens = 0, reused_tokens = 0;  ///< reused: those already in the cache
  double prefill_s = 0, decode_s = 0;
  int64_t decoded = 0;  ///< single-token forwards in decode_s

  double prefill_tokens_per_s() const;
  double decode_tokens_per_s() const;
};

/// Called for every new token with the text that is ready to show (often empty where a character or
/// a stop string is not decided), and once more at the end with id -1 if text was held back. False
/// ends the generation.
using TokenCallback = std::function<bool(int32_t id, std::string_view text)>;

/// Continues `prompt`, reusing what `sequence` has of it. `tokenizer` may be null: then there is no
/// text and no stop strings. Throws Error for an empty prompt, ids outside the vocabulary, or a
/// prompt that leaves no room.
Generation generate(Sequence& sequence, const Tokenizer* tokenizer,
                    const std::vector<int32_t>& prompt, const GenerateOptions& options,
                    const TokenCallback& on_token = {});

/// What a checkpoint asks for: the tokens that end a text (config.json and generation_config.json)
/// and how to sample where that file says so.
struct GenerationDefaults {
  SamplingOptions sampling;
  std::vector<int32_t> eos;
  bool has_sampling = false;
};
GenerationDefaults generation_defaults(const ModelConfig& config,
                                       const std::filesystem::path& directory);

}  // namespace um
