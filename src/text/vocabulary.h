// Tokenizers inside GGUF files: the vocabulary as their metadata has it (docs/formats.md), and the
// tokenizer built from it. A SentencePiece vocabulary becomes a tokenizer.model, a byte-level one a
// tokenizer.json, so that both take the ordinary way and can be saved.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/gguf.h"
#include "text/tokenizer.h"

namespace um {

/// The key of ours that lists the ends of texts; without it, in files of others, each end that GGUF
/// has a key for ends texts.
inline constexpr const char* kTextEndsKey = "ultramoe.eos_token_ids";
/// The main chat template; behind a point and a name others, whose names the second key lists.
inline constexpr const char* kTemplateKey = "tokenizer.chat_template";
inline constexpr const char* kTemplateNamesKey = "tokenizer.chat_templates";

/// The fields of Vocabulary::config.
inline constexpr const char* kCarriedFields[] = {"tokenizer_class", "legacy", "add_prefix_space",
                                                 "added_tokens_decoder"};

/// The keys `tokenizer.ggml.*`.
struct Vocabulary {
  enum TokenType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  std::string model;                // "llama" (SentencePiece BPE), or "gpt2" and its like (merges)
  std::string pre;                  // name of the pre-tokenizer, for "gpt2"
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id, for "llama"
  std::vector<int32_t> types;       // by id: TokenType
  std::vector<std::string> merges;  // "a b", for "gpt2"
  int32_t bos = -1, eos = -1, unk = -1, pad = -1;
  int32_t eot = -1, eom = -1;  // further ends; only written
  std::optional<bool> add_bos, add_eos;
  bool add_space_prefix = true;           // for "llama"
  bool remove_extra_whitespaces = false;  // for "llama"
  std::string chat_template;
  std::map<std::string, std::string> named_templates;  // others, by name
  std::string json;  // `tokenizer.huggingface.json`: the whole tokenizer.json, where it is carried
  /// `tokenizer.ultramoe.config`: the fields of tokenizer_config.json that say where prefix spaces
  /// go and what added tokens take of the blanks beside them, which the other keys cannot; for
  /// "llama", empty in files that are not ours.
  std::string config;
};

/// The text of an id without a token in files that have one for each id, beside the type kUnused.
std::string padding_name(size_t id);

/// The chat templates of a GGUF file that have a name.
std::map<std::string, std::string> named_templates(const Gguf& file);

/// Reads the vocabulary of a GGUF file. Throws Error naming the key if there is none.
Vocabulary read_vocabulary(const Gguf& file);

/// Throws Error `NAME: ...` for models that are not known, or for tables that do not fit each
/// other. A pre-tokenizer that is not known becomes "default", of which Tokenizer::warnings()
/// tells. Padding becomes no token.
Tokenizer make_tokenizer(Vocabulary vocabulary, const std::string& name);

}  // namespace um
