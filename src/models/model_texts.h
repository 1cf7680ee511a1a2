// What a model's files say about texts, beside the weights: the tokens that begin and end them,
// what the model was trained for, and the files that go along when the model is written anew.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf_write.h"
#include "nn/config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace um {

/// The tokens that end what a model writes.
struct Ends {
  std::vector<int32_t> text;  ///< end any text
  std::vector<int32_t> turn;  ///< end an answer in a chat: those, and what ends a turn
  int32_t own = -1;  ///< the one of `text` that only the SentencePiece model has, no field; or -1
};

/// All that the tokenizer, config.json (of a GGUF file its metadata) and the generation_config.json
/// in the directory `path` (may be empty) call an end, the tokenizer's first; for chats also the
/// end of a turn of `chat` (may be null). A stop string that is a special token is an end, too. Ids
/// outside the model's vocabulary are left out. Throws Error for a damaged generation_config.json.
Ends find_ends(const ModelConfig& config, const Tokenizer& tokenizer,
               const std::filesystem::path& path, const ChatTemplate* chat = nullptr);

/// The texts before which whatever the model at `path` writes ends: `stop_strings` of its
/// generation_config.json, a text or a list of them; of a GGUF file ultramoe.stop_strings. Throws
/// Error for anything else.
std::vector<std::string> find_stops(const std::filesystem::path& path);

/// What users are told of a model that was not trained for chats.
inline constexpr std::string_view kBaseModel = "base model: it continues text";

/// Whether the model at `path` only continues texts. Its config.json says so ("trained_for":
/// "text", or "chat"); one that says nothing, or of an untrained model "nothing", is a base model
/// if it has no chat template of its own.
bool is_base_model(const std::filesystem::path& path);
/// That field: of a GGUF file ultramoe.trained_for; empty if there is none, as in a packed corpus.
std::string trained_for(const std::filesystem::path& path);
/// What it becomes when texts are trained on, beginning with the model or corpus `path`.
std::string trained_for_next(const std::filesystem::path& path);
/// Sets it in the config.json of `directory`; an empty text leaves it as it is.
void write_trained_for(const std::filesystem::path& directory, const std::string& what);

/// A new model's config without the ids of its preset, which are those of another tokenizer.
void clear_token_ids(ModelConfig& config);
/// Adds to a config.json the ids of the tokenizer that it lacks: bos, pad, unk, and an end.
void add_token_ids(nlohmann::json& config, const Tokenizer& tokenizer);
/// Writes generation_config.json: the one that is there with the ids of config.json `config` that
/// it lacks, for engines that look there, and `stops` (see find_stops) if there are any.
void write_generation_config(const std::filesystem::path& directory, const nlohmann::json& config,
                             const std::vector<std::string>& stops = {});

/// Throws Error unless `hash`, of the tokenizer of `data`, is that of the model's. A model without
/// a tokenizer takes any.
void require_tokenizer_of(const std::filesystem::path& model, const std::string& hash,
                          const std::string& data, std::string_view remedy);
/// The remedy where the model `data` is to have its tokens drafted by another.
inline constexpr std::string_view kSameTokenizer =
    "a draft model has to have the tokenizer of the model it drafts for";

/// generation_config.json of a model, an empty object where there is none; of a GGUF file what
/// general.sampling.* says. Throws Error for a damaged one.
nlohmann::json generation_config_of(const std::filesystem::path& path);
/// How such a config asks to sample, as GGUF has it.
std::vector<GgufEntry> sampling_entries(const std::filesystem::path& path);

/// Copies the files of the model or corpus `from` that are not weights and not config.json:
/// tokenizer, chat template, generation_config.json. Those of a GGUF file are made from its
/// metadata. Does nothing where there are none. Throws Error.
void copy_model_texts(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace um
