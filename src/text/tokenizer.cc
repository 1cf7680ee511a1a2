// Encoding and decoding; see tokenizer.h. Facts: interop.md 4.1.
#include "text/tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

namespace um {
namespace {

using Impl = Tokenizer::Impl;

// SentencePiece keeps a heap over a whole text: long texts go in parts of about this many bytes.
constexpr size_t kPartBytes = 4096;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The first place at or after `from` where a lone space stands between two ASCII word characters:
/// the text may be cut there, because the part behind gets the space back as its prefix space.
size_t find_cut(std::string_view text, size_t from) {
  for (size_t i = std::max<size_t>(from, 1); i + 1 < text.size(); ++i) {
    if (text[i] == ' ' && is_word(text[i - 1]) && is_word(text[i + 1])) return i;
  }
  return text.size();
}

void encode_part(const Impl& impl, std::string_view text, std::vector<int32_t>& ids) {
  std::vector<int> part;
  const auto status = impl.processor.Encode(text, &part);
  UM_CHECK(status.ok(), "tokenizer: SentencePiece failed: {}", status.ToString());
  ids.insert(ids.end(), part.begin(), part.end());
}

/// Valid UTF-8 without special tokens through SentencePiece.
void encode_plain(const Impl& impl, std::string_view text, std::vector<int32_t>& ids) {
  const bool may_cut = impl.prefix_space && impl.cut_at_spaces;
  while (!text.empty()) {
    const size_t cut = may_cut ? find_cut(text, kPartBytes) : text.size();
    encode_part(impl, text.substr(0, cut), ids);
    text.remove_prefix(std::min(text.size(), cut + 1));
  }
}

/// Writes `text` as byte tokens, for a special token's name which is to stay plain text.
void encode_bytes(const Impl& impl, std::string_view text, std::vector<int32_t>& ids) {
  for (const char c : text) {
    const int32_t id = impl.byte_ids[static_cast<uint8_t>(c)];
    ids.push_back(id >= 0 ? id : impl.unk);
  }
}

bool any_marked(std::string_view marks) {
  return marks.find_first_not_of('\0') != std::string_view::npos;
}

/// Calls `plain(text)` and `special(token)` for the stretches of `text` in order. Bytes marked in
/// `outside` (may be empty) are part of no special token.
template <class Plain, class Special>
void cut_specials(const Impl& impl, std::string_view text, std::string_view outside, Plain plain,
                  Special special) {
  size_t begin = 0, at = 0;
  while (at < text.size()) {
    const SpecialToken* token = match_special(impl, text.substr(at));
    const bool marked =
        token != nullptr && !outside.empty() && any_marked(outside.substr(at, token->text.size()));
    if (token == nullptr || marked) {
      ++at;
      continue;
    }
    size_t end = at;
    while (token->lstrip && end > begin && std::isspace(static_cast<uint8_t>(text[end - 1]))) --end;
    if (end > begin) plain(text.substr(begin, end - begin));
    special(*token);
    at += token->text.size();
    while (token->rstrip && at < text.size() && std::isspace(static_cast<uint8_t>(text[at]))) ++at;
    begin = at;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

/// Text in which special tokens are plain text. SentencePiece itself matches the user-defined
/// pieces of some models, so names of special tokens that come back as ids are spelled in bytes.
void encode_literal(const Impl& impl, std::string_view text, std::vector<int32_t>& ids) {
  const size_t first = ids.size();
  encode_plain(impl, text, ids);
  const bool clean = std::none_of(
      ids.begin() + static_cast<ptrdiff_t>(first), ids.end(),
      [&](int id) { return impl.special_of[static_cast<size_t>(id)] >= 0 && id != impl.unk; });
  if (clean) return;
  ids.resize(first);
  cut_specials(
      impl, text, {}, [&](std::string_view part) { encode_plain(impl, part, ids); },
      [&](const SpecialToken& token) { encode_bytes(impl, token.text, ids); });
}

}  // namespace

const SpecialToken* match_special(const Impl& impl, std::string_view text) {
  for (const int32_t index : impl.specials_by_byte[static_cast<uint8_t>(text[0])]) {
    const SpecialToken& token = impl.specials[static_cast<size_t>(index)];
    if (text.substr(0, token.text.size()) == token.text) return &token;
  }
  return nullptr;
}

int32_t find_piece(const Impl& impl, const std::string& piece) {
  const auto special = impl.special_by_text.find(piece);
  if (special != impl.special_by_text.end()) return special->second;
  if (impl.json) {
    const auto it = impl.piece_ids.find(piece);
    return it == impl.piece_ids.end() ? -1 : it->second;
  }
  const int32_t id = impl.processor.PieceToId(piece);
  const bool known = id >= 0 && static_cast<size_t>(id) < impl.pieces.size();
  return known && impl.pieces[static_cast<size_t>(id)] == piece ? id : -1;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  UM_CHECK(options.outside.empty() || (options.outside.size() == text.size() && is_utf8(text)),
           "tokenizer: {} marks for {} bytes, or bytes that are not UTF-8", options.outside.size(),
           text.size());
  std::string repaired;
  if (!is_utf8(text)) text = repaired = repair_utf8(text);
  std::vector<int32_t> ids;
  if (options.add_bos) {
    UM_CHECK(bos_id() >= 0, "tokenizer: has no BOS token, but one was asked for");
    ids.push_back(bos_id());
  }
  if (impl_->json) {
    impl_->pipeline->encode(text, options.parse_special, ids, options.outside);
  } else if (options.parse_special) {
    const auto plain = [&](std::string_view part) {
      const bool marked = !options.outside.empty() &&
                          any_marked(options.outside.substr(
                              static_cast<size_t>(part.data() - text.data()), part.size()));
      (marked ? encode_literal : encode_plain)(*impl_, part, ids);
    };
    cut_specials(*impl_, text, options.outside, plain,
                 [&](const SpecialToken& token) { ids.push_back(token.id); });
  } else {
    encode_literal(*impl_, text, ids);
  }
  if (options.add_eos) {
    UM_CHECK(eos_id() >= 0, "tokenizer: has no EOS token, but one was asked for");
    ids.push_back(eos_id());
  }
  return ids;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  Detokenizer stream(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

const std::string& Tokenizer::piece(int32_t id) const {
  UM_CHECK(id >= 0 && id < vocab_size(), "tokenizer: id {} is outside the vocabulary of {}", id,
           vocab_size());
  return impl_->pieces[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::id(std::string_view piece) const {
  const int32_t id = find_piece(*impl_, std::string(piece));
  return id < 0 ? std::optional<int32_t>() : id;
}

std::string_view Tokenizer::bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return impl_->surfaces[static_cast<size_t>(id)];
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->special_of[static_cast<size_t>(id)] >= 0;
}

const std::vector<SpecialToken>& Tokenizer::special_tokens() const {
  return impl_->specials;
}
int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(impl_->pieces.size());
}
int32_t Tokenizer::bos_id() const {
  return impl_->bos;
}
int32_t Tokenizer::eos_id() const {
  return impl_->eos;
}
int32_t Tokenizer::pad_id() const {
  return impl_->pad;
}
int32_t Tokenizer::unk_id() const {
  return impl_->unk;
}
bool Tokenizer::add_bos() const {
  return impl_->add_bos;
}
bool Tokenizer::has_byte_fallback() const {
  return impl_->json || impl_->byte_ids[0] >= 0;
}

Detokenizer::Detokenizer(Tokenizer tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

void Detokenizer::prime(const std::vector<int32_t>& prompt) {
  for (const int32_t id : prompt) push(id);
}

std::string Detokenizer::push(int32_t id) {
  const Impl& impl = *tokenizer_.impl_;
  if (tokenizer_.is_special(id)) {
    std::string out = take_utf8(pending_, true);
    const auto index = static_cast<size_t>(impl.special_of[static_cast<size_t>(id)]);
    const SpecialToken& token = impl.specials[index];
    const bool shown = !skip_special_ || !token.special;
    if (shown) out += token.text;
    segment_start_ = !impl.strip_first_space || (segment_start_ && !shown);
    return out;
  }
  std::string_view bytes = tokenizer_.bytes(id);
  if (bytes.empty()) return {};
  if (segment_start_ && (impl.prefix_space || impl.strip_first_space) && bytes[0] == ' ') {
    bytes.remove_prefix(impl.strips_spaces ? std::min(bytes.find_first_not_of(' '), bytes.size())
                                           : 1);
  }
  segment_start_ = segment_start_ && impl.strips_spaces && bytes.empty();
  pending_ += bytes;
  return take_utf8(pending_, false);
}

std::string Detokenizer::finish() {
  return take_utf8(pending_, true);
}

}  // namespace um
