// A SentencePiece model and how it is used: where the prefix space goes, and long texts in parts.
#pragma once

#include <sentencepiece_processor.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "text/encode_guard.h"

namespace um {

/// What tokenizer_config.json makes of a model.
struct SentencePieceOptions {
  enum Prefix { kNever, kFirst, kAlways };
  /// The texts that get a space in front: of those between special tokens all, or only the one at
  /// the very start. Models that say so themselves have none.
  Prefix prefix = kAlways;
  /// No second space in front of a text that begins with one, stripped or not.
  bool join_prefix = false;
  /// Class LlamaTokenizer: the model's own normaliser does not count, its prefix neither.
  bool plain = false;
  bool rewrites = true;  ///< the model's normaliser does more than to spaces
};

class SentencePieceModel {
 public:
  /// `model` was checked (sentencepiece_check.h). Throws Error `NAME: ...` for bytes that are no
  /// model.
  SentencePieceModel(const std::string& model, const SentencePieceOptions& options,
                     const std::string& name);

  /// Appends the ids of `text`, valid UTF-8 without special tokens. `first`: it begins a document.
  void encode(std::string_view text, bool first, EncodeGuard& guard,
              std::vector<int32_t>& ids) const;

  const sentencepiece::SentencePieceProcessor& processor() const { return prefixed_; }
  SentencePieceOptions::Prefix prefix() const { return prefix_; }
  bool strips_spaces() const { return strips_; }
  bool rewrites() const { return rewrites_; }

 private:
  struct Cut;
  void encode_part(const sentencepiece::SentencePieceProcessor& processor, std::string_view text,
                   bool first_part, std::vector<int32_t>& ids) const;
  void read_neighbours() const;
  /// No piece has these characters side by side.
  bool may_part(int32_t left, int32_t right) const;
  Cut find_cut(std::string_view text) const;

  sentencepiece::SentencePieceProcessor prefixed_, bare_;  // with and without the prefix space
  SentencePieceOptions::Prefix prefix_;
  bool join_prefix_ = false;
  bool strips_ = false;    // leading and repeated spaces vanish
  bool suffix_ = false;    // the prefix space is a suffix
  bool rewrites_ = false;  // the normaliser does more than to spaces
  mutable std::once_flag once_;
  mutable std::vector<uint64_t> neighbours_;  // pairs of characters within pieces, sorted
};

}  // namespace um
