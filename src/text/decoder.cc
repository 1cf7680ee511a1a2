// See decoder.h.
#include "text/decoder.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "text/normalizer.h"

namespace um {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxSteps = 64;

struct Alphabet {
  std::array<uint16_t, 256> to_code{};
  std::array<int16_t, 324> to_byte{};
  Alphabet() {
    to_byte.fill(-1);
    uint16_t next = 256;
    for (uint16_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      to_code[byte] = printable ? byte : next++;
      to_byte[to_code[byte]] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet kAlphabet;
  return kAlphabet;
}

}  // namespace

std::string bytes_to_byte_level(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const uint16_t code = alphabet().to_code[static_cast<uint8_t>(c)];
    if (code >= 0x80) out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(code >= 0x80 ? 0x80 | (code & 0x3F) : code);
  }
  return out;
}

std::optional<std::string> byte_level_to_bytes(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    size_t code = static_cast<uint8_t>(text[at]);
    if (code >= 0x80) {  // the alphabet ends below U+0800: two bytes
      if ((code & 0xE0) != 0xC0 || at + 1 == text.size()) return {};
      code = (code & 0x1F) << 6 | (static_cast<uint8_t>(text[++at]) & 0x3F);
    }
    if (code >= alphabet().to_byte.size() || alphabet().to_byte[code] < 0) return {};
    out += static_cast<char>(alphabet().to_byte[code]);
  }
  return out;
}

int byte_of_piece(std::string_view piece) {
  int value = -1;
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return -1;
  const auto parsed = std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
  return parsed.ptr == piece.data() + 5 ? value : -1;
}

Decoder::Decoder(const Json& spec, const std::string& where)
    : front_spaces_(spec.is_null() ? 1 : 0), joins_(spec.is_null()) {
  if (!joins_) add(spec, where, 0);
}

/// Streams know the text before a token only as "none yet": behind Fuse, a Strip may take spaces
/// from the front, and nothing from the end.
void Decoder::add_strip(const Json& spec, const std::string& where) {
  const JsonObject fields(spec, where);
  const std::string content = fields.string("content");
  const int64_t start = fields.integer_or("start", 0, 0, 64);
  UM_CHECK(!content.empty() && content.size() <= 4, "{}: content is not one character", where);
  UM_CHECK(fields.integer_or("stop", 0, 0, 64) == 0,
           "{}: a Strip at the end of texts cannot be streamed", where);
  if (!fused_) {
    steps_.push_back({.kind = Step::kStrip, .text = content, .count = start});
    return;
  }
  UM_CHECK(start == 0 || content == " ",
           "{}: a Strip behind Fuse may take spaces from the front, not {}", where, quote(content));
  front_spaces_ += start;
}

void Decoder::add(const Json& spec, const std::string& where, int depth) {
  const JsonObject fields(spec, where);
  const std::string type = fields.string("type");
  UM_CHECK(depth < kMaxDepth && steps_.size() < kMaxSteps, "{}: too many or too deep steps", where);
  if (type == "Sequence") {
    const Json* list = fields.find("decoders");
    if (list == nullptr || !list->is_array()) fields.wrong("decoders", "a list");
    for (size_t i = 0; i < list->size(); ++i) {
      add((*list)[i], fmt::format("{}.decoders[{}]", where, i), depth + 1);
    }
    return;
  }
  if (type == "Fuse") return void(fused_ = true);
  if (type == "Strip") return add_strip(spec, where);
  UM_CHECK(!fused_, "{}: {} behind Fuse cannot be streamed", where, quote(type));
  if (type == "ByteLevel") {
    steps_.push_back({.kind = Step::kByteLevel});
  } else if (type == "ByteFallback") {
    steps_.push_back({.kind = Step::kByteFallback});
  } else if (type == "Replace") {
    steps_.push_back({.kind = Step::kReplace,
                      .regex = {read_pattern(spec, where)},
                      .text = fields.string("content")});
  } else if (type == "Metaspace") {
    const std::string mark = fields.string_or("replacement", "\xE2\x96\x81");
    const bool prefix = fields.boolean_or("add_prefix_space", true);
    steps_.push_back({.kind = Step::kReplace,
                      .regex = {Pcre::literal(mark, where)},
                      .text = " ",
                      .drops_first = fields.string_or("prepend_scheme",
                                                      prefix ? "always" : "never") != "never"});
  } else {
    fail(
        "{}: decoder {} is not known; known: ByteLevel, ByteFallback, Fuse, Strip, Replace, "
        "Metaspace, Sequence",
        where, quote(type));
  }
}

bool Decoder::first_differs() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& s) { return s.drops_first; });
}

std::string Decoder::surface(const std::string& piece, Place place, PcreScratch& scratch,
                             TextRoom& room) const {
  if (joins_) return " " + piece;
  std::string text = piece;
  for (const Step& step : steps_) {
    if (step.kind == Step::kByteLevel) {
      if (place.letters) continue;
      if (auto bytes = byte_level_to_bytes(text)) text = std::move(*bytes);
    } else if (step.kind == Step::kByteFallback) {
      if (const int byte = byte_of_piece(text); byte >= 0)
        return std::string(1, static_cast<char>(byte));
    } else if (step.kind == Step::kReplace) {
      const bool drops = place.first && step.drops_first;
      text =
          replace_all(text, step.regex[0], drops ? std::string_view() : step.text, scratch, room);
    } else {
      for (int64_t i = 0; i < step.count && text.starts_with(step.text); ++i) {
        text.erase(0, step.text.size());
      }
    }
  }
  return text;
}

}  // namespace um
