// The inside of Tokenizer, shared by tokenizer.cc (encode, decode), tokenizer_files.cc (load, save)
// and tokenizer_json.cc (tokenizer.json).
#pragma once

#include <sentencepiece_processor.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/pipeline.h"
#include "text/tokenizer.h"

namespace um {

struct Tokenizer::Impl {
  bool json = false;                                   // made from a tokenizer.json
  sentencepiece::SentencePieceProcessor processor;     // of a tokenizer.model
  std::unique_ptr<const Pipeline> pipeline;            // if `json`
  std::unordered_map<std::string, int32_t> piece_ids;  // if `json`: its vocabulary
  std::string model;                                   // bytes of tokenizer.model or tokenizer.json
  nlohmann::json config;                               // tokenizer_config.json as read, or as made
  std::vector<SpecialToken> specials;                  // ordered by id
  std::vector<int32_t> special_of;                     // by id: index in `specials` or -1
  std::unordered_map<std::string, int32_t> special_by_text;
  std::array<std::vector<int32_t>, 256> specials_by_byte;  // by first byte, longest text first
  std::vector<std::string> pieces;                         // by id
  std::vector<std::string> surfaces;                       // by id: bytes it stands for
  std::array<int32_t, 256> byte_ids{};                     // `<0xNN>` or -1
  int32_t bos = -1, eos = -1, pad = -1, unk = -1;
  bool add_bos = true;
  bool prefix_space = true;        // SentencePiece adds a space before each text
  bool strip_first_space = false;  // decoding drops one space at the very start
  bool strips_spaces = false;      // the model's normaliser drops leading and repeated spaces
  bool cut_at_spaces = true;       // no piece crosses a space, so that long texts may be cut there
};

/// The special token written at the front of `text`, or null. The longest one wins.
const SpecialToken* match_special(const Tokenizer::Impl& impl, std::string_view text);

/// The id of a special token or piece, or -1.
int32_t find_piece(const Tokenizer::Impl& impl, const std::string& piece);

/// Sorts `impl.specials` and fills the tables by id, by text and by first byte; `pieces` and
/// `surfaces` grow to hold them.
void index_specials(Tokenizer::Impl& impl, const std::string& name);

/// The id that tokenizer_config.json's `key` names (a string, or an object with `content`):
/// `fallback` without the key, -1 if it is null. Throws Error if there is no such token.
int32_t named_id(const Tokenizer::Impl& impl, const char* key, int32_t fallback,
                 const std::string& name);

/// The boolean field `key` of a JSON object, or `fallback`.
bool flag_of(const nlohmann::json& object, const char* key, bool fallback);

}  // namespace um
