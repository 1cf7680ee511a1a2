// Tokenizers: SentencePiece (`tokenizer.model`, the Pangu V1 family), what Hugging Face's
// `tokenizer.json` describes (byte-level BPE and its relatives), both also from GGUF files; the
// special tokens and tokenizer_config.json around them; the detokenizer for streams.
//
// SentencePiece encodes every stretch of text between special tokens by itself, with a space before
// each ("legacy"), before the first or before none, as tokenizer_config.json says; decoding drops
// that space again. A tokenizer is immutable and cheap to copy; all const methods may be called
// from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace um {

/// One entry of `added_tokens_decoder`.
struct SpecialToken {
  int32_t id = 0;
  std::string text;
  bool special = true;  // false: survives `skip_special` when decoding
  bool lstrip = false;  // swallows the white space before it
  bool rstrip = false;  // swallows the white space after it
};

struct EncodeOptions {
  bool add_bos = false;  ///< what the tokenizer puts in front of a text, BOS unless it says more
  bool add_eos = false;  ///< what it puts behind, likewise EOS
  /// True: special tokens written in the text become their ids. False (for text of users): they are
  /// plain text, and no special id can come out.
  bool parse_special = false;
  /// With `parse_special`: empty, or one byte for each of the text's, which is not 0 where that
  /// byte must not be part of a special token (see MarkedText). The text must be valid UTF-8.
  std::string_view outside = {};
};

/// What encoding may cost, see Tokenizer::bounded().
struct EncodeBounds {
  int64_t max_tokens = -1;  ///< more are an error: TooManyTokens; -1: any number
};

/// encode() came to its bound.
class TooManyTokens : public Error {
 public:
  using Error::Error;
};

/// Ids to fall back on where tokenizer_config.json names no token; -1 is none.
struct TokenizerRoles {
  int32_t bos = -1, eos = -1, pad = -1;
};

class Tokenizer {
 public:
  /// Loads a `tokenizer.model`, a `tokenizer.json`, a GGUF file's vocabulary, or a directory: its
  /// tokenizer.json, else its tokenizer.model, else its vocab.json and merges.txt, with the side
  /// files tokenizer_config.json, special_tokens_map.json and added_tokens.json where present.
  /// Throws Error naming the file if it is missing, damaged or contradictory.
  static Tokenizer load(const std::filesystem::path& path);

  /// From bytes: a SentencePiece model and the text of tokenizer_config.json (may be empty, then
  /// the model's control pieces and `[unusedK]` pieces are the special tokens). `name` is for
  /// errors.
  static Tokenizer parse(std::string model, std::string_view config, const std::string& name);

  /// From the texts of tokenizer.json and tokenizer_config.json (may be empty). Added tokens are
  /// special tokens here, also those not marked special (`<think>`), except ordinary texts such as
  /// letters or runs of spaces, which count in all texts. `roles`: the ids in the model's
  /// config.json.
  static Tokenizer from_json(std::string model, std::string_view config, const std::string& name,
                             const TokenizerRoles& roles = {});

  /// Token ids of `text`. Invalid UTF-8 is read as U+FFFD. U+2581 (SentencePiece's space mark) is
  /// read as a space by SentencePiece.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// The same tokenizer, whose encode() keeps to `bounds`. Texts that cannot fit, whatever they
  /// say, are refused before anything is done with them.
  Tokenizer bounded(EncodeBounds bounds) const;

  /// Text of `ids`, always valid UTF-8: bytes that form no character become U+FFFD. `skip_special`
  /// leaves special tokens out, else they appear as written. Ids outside the vocabulary (padding
  /// rows of the embedding) give nothing.
  std::string decode(const std::vector<int32_t>& ids, bool skip_special = true) const;

  /// The piece as the model writes it (`▁the`, `<0x0A>`, `[unused9]`). Throws Error outside the
  /// vocabulary.
  const std::string& piece(int32_t id) const;
  /// The id of a special token or piece, if there is one.
  std::optional<int32_t> id(std::string_view piece) const;
  /// The bytes a token stands for, `▁` as a space; empty for special ids and ids out of range.
  std::string_view bytes(int32_t id) const;

  bool is_special(int32_t id) const;
  const std::vector<SpecialToken>& special_tokens() const;

  /// One more than the largest id.
  int32_t vocab_size() const;
  int32_t bos_id() const;  // -1 if the model has none, likewise the others
  int32_t eos_id() const;
  int32_t pad_id() const;
  int32_t unk_id() const;
  /// Whether prompts and documents begin with BOS, or what a post_processor has in its place:
  /// `add_bos_token` of tokenizer_config.json, else the post_processor.
  bool add_bos() const;
  /// The same of their ends: `add_eos_token`.
  bool add_eos() const;
  /// The tokens that prompts begin with; none unless add_bos().
  std::vector<int32_t> front() const;
  bool has_byte_fallback() const;

  /// tokenizer_config.json with what other side files say, or as made for a model without one.
  const nlohmann::json& config() const;

  /// What the user should know of how this was loaded; mostly nothing.
  const std::vector<std::string>& warnings() const;
  Tokenizer with_warnings(std::vector<std::string> warnings) const;

  /// Eight hexadecimal digits (CRC-32) over what decides the ids, not over the files' bytes
  /// (tokenizer_hash.cc): two tokenizers with the same hash give the same ids.
  std::string hash() const;

  /// Writes tokenizer.model (or tokenizer.json) and tokenizer_config.json, each atomically, into
  /// `directory`.
  void save(const std::filesystem::path& directory) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  ///< see tokenizer_impl.h

 private:
  friend class Detokenizer;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
  EncodeBounds bounds_;
  std::vector<std::string> warnings_;
};

/// Turns a stream of ids into a stream of text which never splits a character. The concatenation of
/// all `push` and one `finish` is `decode` of the ids.
class Detokenizer {
 public:
  explicit Detokenizer(Tokenizer tokenizer, bool skip_special = true);

  /// Reads a prompt that the stream continues, without output: the stream then keeps its own first
  /// space, and finishes a character which the prompt began.
  void prime(const std::vector<int32_t>& prompt);
  /// The text that is complete after `id`; may be empty.
  std::string push(int32_t id);
  /// The rest: U+FFFD if an unfinished character is left.
  std::string finish();

 private:
  std::string_view json_bytes(int32_t id, std::string_view bytes);
  std::string_view sentencepiece_bytes(std::string_view bytes);

  Tokenizer tokenizer_;
  bool skip_special_;
  bool segment_start_ =
      true;               // nothing is shown yet; with SentencePiece also: behind a special token
  int64_t front_spaces_;  // that may still be dropped from the front of the text
  std::string pending_;   // bytes of a character that is not complete yet
};

}  // namespace um
