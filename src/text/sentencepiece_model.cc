// See sentencepiece_model.h.
#include "text/sentencepiece_model.h"

#include <algorithm>
#include <exception>

#include "text/unicode.h"
#include "text/utf8.h"

namespace um {
namespace {

using sentencepiece::SentencePieceProcessor;

// The library takes some 200 bytes of memory per byte of text: long texts go in parts. A part ends
// at the first place behind kPartBytes where no piece could reach across, so that the ids are those
// of the whole; a text without such a place (nobody's language) is cut after kMaxPartBytes.
constexpr size_t kPartBytes = 4096, kMaxPartBytes = 64 << 10;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
constexpr int32_t kSpace = 0x2581;

/// Fields of NormalizerSpec (sentencepiece_model.proto), as bytes that follow a model: protocol
/// buffers take the last value of a field.
std::string normalizer_fields(bool dummy_prefix, bool plain) {
  std::string spec = {0x18, static_cast<char>(dummy_prefix)};     // add_dummy_prefix
  if (plain) spec += std::string("\x12\x00\x20\x00\x28\x01", 6);  // no charsmap, no stripping, ▁
  return std::string{0x1A, static_cast<char>(spec.size())} + spec;
}

void load(SentencePieceProcessor& processor, const std::string& model, const std::string& name) {
  try {
    const auto status = processor.LoadFromSerializedProto(model);
    UM_CHECK(status.ok(), "{}: not a SentencePiece model: {}", name, status.ToString());
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {  // of the library's own libraries
    fail("{}: SentencePiece cannot read this model: {}", name, error.what());
  }
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int32_t code_of(std::string_view text) {
  return text[0] == ' ' ? kSpace : first_code(text);
}

uint64_t pair_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

/// Where a part ends, and where the next one begins.
struct SentencePieceModel::Cut {
  size_t end, resume;
  bool at_space = false;  // the next part gets the space at the cut back as its prefix
};

SentencePieceModel::SentencePieceModel(const std::string& model,
                                       const SentencePieceOptions& options, const std::string& name)
    : prefix_(options.prefix), join_prefix_(options.join_prefix) {
  load(prefixed_, options.plain ? model + normalizer_fields(true, true) : model, name);
  UM_CHECK(prefixed_.GetPieceSize() > 0, "{}: the SentencePiece model has no pieces", name);
  load(bare_, model + normalizer_fields(false, options.plain), name);
  const auto pieces = prefixed_.EncodeAsPieces("a");
  suffix_ = !pieces.empty() && pieces.back() != "a" && pieces.back().ends_with(kSpaceMark);
  const bool prefixes = prefixed_.EncodeAsIds("a") != bare_.EncodeAsIds("a");
  if (!prefixes) prefix_ = SentencePieceOptions::kNever;
  strips_ = bare_.EncodeAsIds("  a") == bare_.EncodeAsIds("a");
  rewrites_ = !options.plain && options.rewrites;
}

void SentencePieceModel::encode(std::string_view text, bool first, EncodeGuard& guard,
                                std::vector<int32_t>& ids) const {
  const bool begins_with_space = text.starts_with(kSpaceMark) || text.starts_with(' ');
  bool prefix = (prefix_ == SentencePieceOptions::kAlways ||
                 (prefix_ == SentencePieceOptions::kFirst && first)) &&
                !(join_prefix_ && begins_with_space);
  bool first_part = true;
  while (!text.empty()) {
    const Cut cut = find_cut(text);
    encode_part(prefix ? prefixed_ : bare_, text.substr(0, cut.end), first_part, ids);
    first_part = false;
    guard.check(ids.size(), static_cast<uint32_t>(cut.end));
    prefix = cut.at_space;
    text.remove_prefix(cut.resume);
  }
}

/// Of unknown characters in a row the library makes one id, and so do we where a cut parts them.
void SentencePieceModel::encode_part(const SentencePieceProcessor& processor, std::string_view text,
                                     bool first_part, std::vector<int32_t>& ids) const {
  std::vector<int> part;
  const auto status = processor.Encode(text, &part);
  UM_CHECK(status.ok(), "tokenizer: SentencePiece failed: {}", status.ToString());
  const bool joined = !first_part && !ids.empty() && !part.empty() && ids.back() == part.front() &&
                      part.front() == processor.unk_id();
  ids.insert(ids.end(), part.begin() + (joined ? 1 : 0), part.end());
}

void SentencePieceModel::read_neighbours() const {
  for (int id = 0; id < bare_.GetPieceSize(); ++id) {
    std::string_view piece = bare_.IdToPiece(id);
    if (!is_utf8(piece)) continue;
    int32_t before = -1;
    for (; !piece.empty(); piece.remove_prefix(utf8_step(piece).bytes)) {
      const int32_t code = code_of(piece);
      if (before >= 0) neighbours_.push_back(pair_of(before, code));
      before = code;
    }
  }
  std::sort(neighbours_.begin(), neighbours_.end());
  neighbours_.erase(std::unique(neighbours_.begin(), neighbours_.end()), neighbours_.end());
}

bool SentencePieceModel::may_part(int32_t left, int32_t right) const {
  return !std::binary_search(neighbours_.begin(), neighbours_.end(), pair_of(left, right));
}

/// Spaces at the edges of a part vanish where the normaliser strips, and what it rewrites may reach
/// over an edge: then a part ends at a lone space, or between two other characters.
SentencePieceModel::Cut SentencePieceModel::find_cut(std::string_view text) const {
  if (text.size() <= kPartBytes || suffix_) return {text.size(), text.size()};
  std::call_once(once_, [&] { read_neighbours(); });
  size_t at = kPartBytes;
  while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
  for (size_t size; at + 1 < text.size(); at += size) {
    size = utf8_step(text.substr(at)).bytes;
    if (at >= kMaxPartBytes) return {at, at};
    const int32_t left = code_of(last_character(text.substr(0, at)));
    const int32_t right = code_of(text.substr(at));
    if (!may_part(left, right)) continue;
    const bool lone = text[at] == ' ' && is_word(text[at - 1]) && is_word(text[at + 1]);
    if (lone && prefix_ != SentencePieceOptions::kNever) return {at, at + 1, true};
    if (!rewrites_ && (!strips_ || (left != kSpace && right != kSpace))) return {at, at};
  }
  return {text.size(), text.size()};
}

}  // namespace um
