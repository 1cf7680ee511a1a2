// The tokens that tokenizer_config.json (with special_tokens_map.json) adds to a vocabulary; one
// rule for tokenizer.json, tokenizer.model and vocab.json, that of transformers 5.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_impl.h"

namespace um {

/// The text of a tokenizer_config.json in its own order; empty: an object without fields.
nlohmann::ordered_json ordered_config(std::string_view text, const std::string& name);

/// The key under which a config lists further special tokens: `extra_special_tokens`, or, where
/// that is empty, its older name `additional_special_tokens`.
const char* further_tokens_key(const nlohmann::ordered_json& config);

/// The text of a token that is a string, or an object with `content`; empty for anything else.
std::string token_text(const nlohmann::json& value);

/// Calls `visit(key, token)` for each special token that a config names, in the order in which new
/// ones get ids: the roles, other keys `*_token`, `model_specific_special_tokens`, the further
/// ones. Throws Error `NAME: ...` for lists that are none.
void for_each_special(const nlohmann::ordered_json& config, const std::string& name,
                      const std::function<void(const std::string&, const nlohmann::json&)>& visit);

/// added_tokens_decoder with `tokens`.
nlohmann::json decoder_of(std::span<const AddedToken> tokens);

/// Appends to `added` the entries of added_tokens_decoder and the special tokens of `config`. They
/// have the id of the vocabulary (`impl.pieces`), else their own, else the next one. Returns a
/// warning for each new one that only a role or a list names. Throws Error `NAME: ...`.
std::vector<std::string> add_config_tokens(const Tokenizer::Impl& impl,
                                           const nlohmann::ordered_json& config,
                                           const std::string& name, std::vector<AddedToken>& added);

/// Adds a warning for each field of a config that asks for what is not done.
void add_field_warnings(const nlohmann::json& config, const std::string& name,
                        std::vector<std::string>& warnings);

}  // namespace um
