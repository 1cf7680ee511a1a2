// Generating one text on an engine, while the caller waits. The engine keeps the prompt's rows
// between calls, so that the next turn of a chat only runs what is new.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "text/tokenizer.h"

namespace um {

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
  RequestStats stats;

  double prefill_tokens_per_s() const;  ///< of the prompt's tokens that were not in the cache
  double decode_tokens_per_s() const;   ///< of all but the first
};

/// Called for every new token with the text that is ready to show (often empty where a character or
/// a stop string is not decided), and once more at the end with id -1 if text was held back. False
/// ends the generation.
using TokenCallback = std::function<bool(int32_t id, std::string_view text)>;

/// Continues `prompt` on an engine that nobody else is running. `tokenizer` may be null: then there
/// is no text and no stop strings. Throws Error for an empty prompt, ids outside the vocabulary, or
/// a prompt that leaves no room, all before `on_accepted` is called.
Generation generate(Engine& engine, const Tokenizer* tokenizer, const std::vector<int32_t>& prompt,
                    const GenerateOptions& options, const TokenCallback& on_token = {},
                    const std::function<void()>& on_accepted = {});

/// How a model's generation_config.json, or its GGUF file, asks to sample; nothing if it does not
/// say.
std::optional<SamplingOptions> sampling_defaults(const std::filesystem::path& model);

}  // namespace um
