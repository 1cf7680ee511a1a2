// The inside of Tokenizer, shared by tokenizer.cc (encode, decode) and tokenizer_files.cc (load,
// save).
#pragma once

#include <sentencepiece_processor.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace um {

struct Tokenizer::Impl {
  sentencepiece::SentencePieceProcessor processor;
  std::string model;                   // bytes of tokenizer.model
  nlohmann::json config;               // tokenizer_config.json as read, or as made
  std::vector<SpecialToken> specials;  // ordered by id
  std::vector<int32_t> special_of;     // by id: index in `specials` or -1
  std::unordered_map<std::string, int32_t> special_by_text;
  std::array<std::vector<int32_t>, 256> specials_by_byte;  // by first byte, longest text first
  std::vector<std::string> pieces;                         // by id
  std::vector<std::string> surfaces;                       // by id: bytes it stands for
  std::array<int32_t, 256> byte_ids{};                     // `<0xNN>` or -1
  int32_t bos = -1, eos = -1, pad = -1, unk = -1;
  bool add_bos = true;
  bool prefix_space = true;    // SentencePiece adds a space before each text
  bool strips_spaces = false;  // the model's normaliser drops leading and repeated spaces
  bool cut_at_spaces = true;   // no piece crosses a space, so that long texts may be cut there
};

/// The special token written at the front of `text`, or null. The longest one wins.
const SpecialToken* match_special(const Tokenizer::Impl& impl, std::string_view text);

}  // namespace um
