// Encoding and decoding; see tokenizer.h. Facts: docs/tokenizers.md.
#include "text/tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "core/stop_scope.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

namespace um {
namespace {

using Impl = Tokenizer::Impl;

// A composed character has at least a quarter of the bytes of its parts.
constexpr size_t kFormShrinks = 4;

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

/// One call of encode() with a tokenizer.model.
struct Encoding {
  const Impl& impl;
  EncodeGuard& guard;
  std::vector<int32_t>& ids;

  void plain(std::string_view text, bool first) const {
    impl.sentencepiece->encode(text, first, guard, ids);
  }

  /// Text in which special tokens are plain text. SentencePiece itself matches the user-defined
  /// pieces of some models, so names of special tokens that come back as ids are spelled in bytes.
  void literal(std::string_view text, bool first) const {
    const size_t begin = ids.size();
    plain(text, first);
    const bool clean =
        std::none_of(ids.begin() + static_cast<ptrdiff_t>(begin), ids.end(), [&](int32_t id) {
          return impl.special_of[static_cast<size_t>(id)] >= 0 && id != impl.unk;
        });
    if (clean) return;
    ids.resize(begin);
    impl.cut.cut(
        text, [&](std::string_view part) { plain(part, first && part.data() == text.data()); },
        [&](const AddedToken& token) { encode_bytes(impl, token.text, ids); });
  }

  /// Special tokens count where none of their bytes is marked in `outside` (may be empty).
  void with_specials(std::string_view text, std::string_view outside) const {
    const auto marked = [&](size_t at, size_t size) {
      return !outside.empty() && any_marked(outside.substr(at, size));
    };
    impl.cut.cut(
        text,
        [&](std::string_view part) {
          const auto at = static_cast<size_t>(part.data() - text.data());
          marked(at, part.size()) ? literal(part, at == 0) : plain(part, at == 0);
        },
        [&](const AddedToken& token) {
          ids.push_back(token.id);
          guard.check(ids.size());
        },
        [&](const AddedToken& token, size_t at) { return !marked(at, token.text.size()); });
  }
};

}  // namespace

int32_t find_piece(const Impl& impl, const std::string& piece) {
  const auto special = impl.special_by_text.find(piece);
  if (special != impl.special_by_text.end()) return special->second;
  if (impl.json) {
    const auto literal = impl.literal_ids.find(piece);
    if (literal != impl.literal_ids.end()) return literal->second;
    const auto it = impl.piece_ids.find(piece);
    return it == impl.piece_ids.end() ? -1 : it->second;
  }
  const int32_t id = impl.sentencepiece->processor().PieceToId(piece);
  const bool known = id >= 0 && static_cast<size_t>(id) < impl.pieces.size();
  return known && impl.pieces[static_cast<size_t>(id)] == piece ? id : -1;
}

void measure_tokens(Impl& impl, bool shrinks) {
  for (const SpecialToken& token : impl.specials) shrinks |= token.lstrip || token.rstrip;
  if (shrinks) return;
  for (const std::string& piece : impl.surfaces)
    impl.max_token_bytes = std::max(impl.max_token_bytes, piece.size());
  for (const SpecialToken& token : impl.specials)
    impl.max_token_bytes = std::max(impl.max_token_bytes, token.text.size());
  impl.max_token_bytes *= kFormShrinks;
}

namespace {

/// Appends what stands on a side of a text: what the file says, else a role's token.
void add_side(const std::vector<int32_t>& side, int32_t role, const char* name,
              std::vector<int32_t>& ids) {
  UM_CHECK(!side.empty() || role >= 0, "tokenizer: has no {} token, but one was asked for", name);
  if (side.empty()) ids.push_back(role);
  ids.insert(ids.end(), side.begin(), side.end());
}

}  // namespace

std::vector<int32_t> Tokenizer::front() const {
  std::vector<int32_t> ids;
  if (add_bos()) add_side(impl_->frame.front, bos_id(), "BOS", ids);
  return ids;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (bounds_.max_tokens >= 0 && impl_->max_token_bytes > 0 &&
      text.size() / impl_->max_token_bytes > static_cast<uint64_t>(bounds_.max_tokens))
    throw TooManyTokens(fmt::format("the text of {} bytes has more than {} tokens", text.size(),
                                    bounds_.max_tokens));
  UM_CHECK(options.outside.empty() || (options.outside.size() == text.size() && is_utf8(text)),
           "tokenizer: {} marks for {} bytes, or bytes that are not UTF-8", options.outside.size(),
           text.size());
  std::string repaired;
  if (!is_utf8(text)) text = repaired = repair_utf8(text);
  EncodeGuard guard(bounds_);
  std::vector<int32_t> ids;
  if (options.add_bos) add_side(impl_->frame.front, bos_id(), "BOS", ids);
  if (impl_->json) {
    impl_->pipeline->encode(text, options.parse_special, guard, ids, options.outside);
  } else if (options.parse_special) {
    Encoding{*impl_, guard, ids}.with_specials(text, options.outside);
  } else {
    Encoding{*impl_, guard, ids}.literal(text, true);
  }
  if (options.add_eos) add_side(impl_->frame.behind, eos_id(), "EOS", ids);
  guard.check(ids.size());
  return ids;
}

Tokenizer Tokenizer::bounded(EncodeBounds bounds) const {
  Tokenizer out = *this;
  out.bounds_ = std::move(bounds);
  return out;
}

Tokenizer Tokenizer::with_warnings(std::vector<std::string> warnings) const {
  Tokenizer out = *this;
  out.warnings_ = std::move(warnings);
  return out;
}

const nlohmann::json& Tokenizer::config() const {
  return impl_->config;
}

const std::vector<std::string>& Tokenizer::warnings() const {
  return warnings_;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  Detokenizer stream(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    check_stop();
    text += stream.push(id);
  }
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
bool Tokenizer::add_eos() const {
  return impl_->add_eos;
}
bool Tokenizer::has_byte_fallback() const {
  return impl_->json || impl_->byte_ids[0] >= 0;
}

Detokenizer::Detokenizer(Tokenizer tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)),
      skip_special_(skip_special),
      front_spaces_(tokenizer_.impl_->front_spaces) {}

void Detokenizer::prime(const std::vector<int32_t>& prompt) {
  for (const int32_t id : prompt) push(id);
}

/// What a shown token of a tokenizer.json adds to the text; `bytes`: what it stands for elsewhere
/// than at the front.
std::string_view Detokenizer::json_bytes(int32_t id, std::string_view bytes) {
  const Impl& impl = *tokenizer_.impl_;
  if (segment_start_ && !impl.first_surfaces.empty())
    bytes = impl.first_surfaces[static_cast<size_t>(id)];
  segment_start_ = false;
  for (; front_spaces_ > 0 && bytes.starts_with(' '); --front_spaces_) bytes.remove_prefix(1);
  if (!bytes.empty()) front_spaces_ = 0;
  return bytes;
}

/// The same of a tokenizer.model's piece.
std::string_view Detokenizer::sentencepiece_bytes(std::string_view bytes) {
  const Impl& impl = *tokenizer_.impl_;
  if (bytes.empty()) return bytes;
  if (segment_start_ && (impl.prefix_space || impl.strip_first_space) && bytes[0] == ' ') {
    bytes.remove_prefix(impl.strips_spaces ? std::min(bytes.find_first_not_of(' '), bytes.size())
                                           : 1);
  }
  segment_start_ = segment_start_ && impl.strips_spaces && bytes.empty();
  return bytes;
}

std::string Detokenizer::push(int32_t id) {
  const Impl& impl = *tokenizer_.impl_;
  if (tokenizer_.is_special(id)) {
    const auto index = static_cast<size_t>(impl.special_of[static_cast<size_t>(id)]);
    const SpecialToken& token = impl.specials[index];
    const bool shown = !skip_special_ || !token.special;
    if (impl.json) {
      if (shown) pending_ += json_bytes(id, impl.shown[index]);
      return take_utf8(pending_, false);
    }
    std::string out = take_utf8(pending_, true);
    if (shown) out += token.text;
    segment_start_ = !impl.strip_first_space || (segment_start_ && !shown);
    return out;
  }
  if (id < 0 || id >= tokenizer_.vocab_size() || impl.pieces[static_cast<size_t>(id)].empty())
    return {};
  const std::string_view bytes = tokenizer_.bytes(id);
  pending_ += impl.json ? json_bytes(id, bytes) : sentencepiece_bytes(bytes);
  return take_utf8(pending_, false);
}

std::string Detokenizer::finish() {
  return take_utf8(pending_, true);
}

}  // namespace um
