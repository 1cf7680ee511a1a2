// The inside of Tokenizer, shared by tokenizer.cc (encode, decode), tokenizer_files.cc (load, save)
// and tokenizer_json.cc (tokenizer.json).
#pragma once

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/keyed_hash.h"
#include "text/pipeline.h"
#include "text/post_processor.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

namespace um {

struct Tokenizer::Impl {
  bool json = false;                                        // made from a tokenizer.json
  std::unique_ptr<const SentencePieceModel> sentencepiece;  // of a tokenizer.model
  AddedTokens cut;                                          // its special tokens
  std::unique_ptr<const Pipeline> pipeline;                 // if `json`
  NameMap<int32_t> piece_ids;                               // if `json`: its model's vocabulary
  NameMap<int32_t> literal_ids;        // if `json`: added tokens that are not in `specials`
  std::string model;                   // bytes of tokenizer.model or tokenizer.json
  nlohmann::json config;               // tokenizer_config.json as read, or as made
  std::vector<SpecialToken> specials;  // ordered by id
  std::vector<int32_t> special_of;     // by id: index in `specials` or -1
  NameMap<int32_t> special_by_text;
  std::vector<std::string> pieces;    // by id
  std::vector<std::string> surfaces;  // by id: bytes it stands for
  std::vector<std::string> shown;     // if `json`, by index in `specials`: what it decodes to
  // By id, special ones too: what it stands for as the first of a text. Empty if that is the same.
  std::vector<std::string> first_surfaces;
  std::array<int32_t, 256> byte_ids{};  // `<0xNN>` or -1
  int32_t bos = -1, eos = -1, pad = -1, unk = -1;
  TextFrame frame;  // around raw texts; of an empty side BOS, EOS
  bool add_bos = true, add_eos = false;
  bool prefix_space = true;        // SentencePiece adds a space before each text
  bool strip_first_space = false;  // SentencePiece: one space goes at the very start
  int64_t front_spaces = 0;        // if `json`: decoding drops so many of them at the very start
  bool strips_spaces = false;      // the model's normaliser drops leading and repeated spaces
  // The most bytes of text that one token can stand for; 0 if there is no telling.
  size_t max_token_bytes = 0;
};

/// The id of a special token or piece, or -1.
int32_t find_piece(const Tokenizer::Impl& impl, const std::string& piece);

/// Sorts `impl.specials` and fills the tables by id and by text; `pieces` and
/// `surfaces` grow to hold them. Throws Error `WHERE: ...` for a text or an id that is there twice.
void index_specials(Tokenizer::Impl& impl, const std::string& where);

/// The id that tokenizer_config.json's `key` names (a string, or an object with `content`):
/// `fallback` without the key, -1 if it is null. Throws Error if there is no such token.
int32_t named_id(const Tokenizer::Impl& impl, const char* key, int32_t fallback,
                 const std::string& name);

/// An entry of tokenizer_config.json's added_tokens_decoder; `key` is its id, below `limit`.
AddedToken read_config_token(const std::string& key, const nlohmann::json& entry, int64_t limit,
                             const std::string& name);

/// Throws Error for an id that lies far behind `count` tokens: what is kept for ids is bounded by
/// what was read.
void check_id_gap(int64_t id, size_t count, const std::string& where);

/// Sets `max_token_bytes`. `shrinks`: the tokenizer may drop or join characters.
void measure_tokens(Tokenizer::Impl& impl, bool shrinks);

/// The boolean field `key` of a JSON object, or `fallback`.
bool flag_of(const nlohmann::json& object, const char* key, bool fallback);

}  // namespace um
