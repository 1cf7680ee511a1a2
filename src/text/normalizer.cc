// See normalizer.h.
#include "text/normalizer.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxSteps = 64, kMaxText = 1024;

std::optional<NormalForm> form_of(std::string_view type) {
  if (type == "NFC") return NormalForm{.compose = true};
  if (type == "NFD") return NormalForm{};
  if (type == "NFKC") return NormalForm{.compose = true, .compat = true};
  if (type == "NFKD") return NormalForm{.compat = true};
  return {};
}

std::string strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_white_space(first_code(text)))
    text.remove_prefix(utf8_step(text).bytes);
  while (right && !text.empty() && is_white_space(first_code(last_character(text))))
    text.remove_suffix(last_character(text).size());
  return std::string(text);
}

/// The end of the character that byte `at` belongs to, `at` if one begins there.
size_t character_end(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

/// `text` without the characters for which `drop(code)` holds.
template <class Drop>
std::string without(std::string_view text, Drop drop) {
  std::string out;
  for (size_t size; !text.empty(); text.remove_prefix(size)) {
    size = utf8_step(text).bytes;
    if (!drop(first_code(text))) out.append(text.substr(0, size));
  }
  return out;
}

}  // namespace

Pcre read_pattern(const Json& object, const std::string& where) {
  const JsonObject fields(object, where);
  const Json* pattern = fields.find("pattern");
  if (pattern == nullptr) fields.wrong("pattern", "an object with String or Regex");
  const JsonObject kinds(*pattern, where + ".pattern");
  if (kinds.has("Regex")) return Pcre(kinds.string("Regex"), where);
  return Pcre::literal(kinds.string("String"), where);
}

std::string replace_all(const std::string& text, const Pcre& regex, std::string_view with,
                        PcreScratch& scratch, TextRoom& room, size_t* lead) {
  std::string out;
  if (text.empty()) return out;  // not even an empty match counts
  size_t at = 0, from_first = 0;
  const size_t reach = lead == nullptr ? 0 : *lead;
  PcreMatches matches(regex, text, scratch);
  for (PcreMatch match; matches.next(match); at = match.end) {
    room.take(match.begin - at + with.size());
    out.append(text, at, match.begin - at);
    if (at < reach) from_first = out.size() - (match.begin - std::min(match.begin, reach));
    out.append(with);
    if (match.end <= reach) from_first = out.size();
  }
  room.take(text.size() - at);
  if (at < reach) from_first = out.size() + reach - at;
  if (lead != nullptr) *lead = from_first;
  return out.append(text, at);
}

Normalizer::Normalizer(const Json& spec, const std::string& where) {
  if (!spec.is_null()) add(spec, where, 0);
}

void Normalizer::add(const Json& spec, const std::string& where, int depth) {
  const JsonObject fields(spec, where);
  const std::string type = fields.string("type");
  UM_CHECK(depth < kMaxDepth && steps_.size() < kMaxSteps, "{}: too many or too deep steps", where);
  if (type == "Sequence") {
    const Json* list = fields.find("normalizers");
    if (list == nullptr || !list->is_array()) fields.wrong("normalizers", "a list");
    for (size_t i = 0; i < list->size(); ++i) {
      add((*list)[i], fmt::format("{}.normalizers[{}]", where, i), depth + 1);
    }
    return;
  }
  Step step{};
  if (const auto form = form_of(type)) {
    step.kind = Step::kForm;
    step.form = *form;
  } else if (type == "Replace") {
    step.kind = Step::kReplace;
    step.regex.push_back(read_pattern(spec, where));
    step.text = fields.string("content");
  } else if (type == "Prepend") {
    step.kind = Step::kPrepend;
    step.text = fields.string("prepend");
  } else if (type == "Lowercase") {
    step.kind = Step::kLower;
  } else if (type == "StripAccents") {
    step.kind = Step::kStripAccents;
  } else if (type == "Strip") {
    step.kind = Step::kStrip;
    step.left = fields.boolean_or("strip_left", true);
    step.right = fields.boolean_or("strip_right", true);
  } else {
    fail(
        "{}: normalizer {} is not known; known: NFC, NFD, NFKC, NFKD, Replace, Prepend, Lowercase, "
        "Strip, StripAccents, Sequence",
        where, quote(type));
  }
  UM_CHECK(step.text.size() <= kMaxText, "{}: text of {} bytes, the limit is {}", where,
           step.text.size(), kMaxText);
  steps_.push_back(std::move(step));
}

bool Normalizer::shrinks() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.kind == Step::kReplace || step.kind == Step::kStrip ||
           step.kind == Step::kStripAccents;
  });
}

/// A step that goes by single characters, or by those that belong together. Not `whole`: more
/// follows.
std::string Normalizer::run(const Step& step, const std::string& text, bool whole) {
  switch (step.kind) {
    case Step::kForm:
      return normalize(text, step.form);
    case Step::kLower:
      return lower_case(text);
    case Step::kStripAccents:
      return without(text, is_combining_mark);
    case Step::kStrip:
      return strip(text, step.left, step.right && whole);
    default:
      return text;
  }
}

std::string Normalizer::apply(std::string text, PcreScratch& scratch, TextRoom& room,
                              size_t* lead) const {
  for (const Step& step : steps_) {
    if (step.kind == Step::kReplace) {
      text = replace_all(text, step.regex[0], step.text, scratch, room, lead);
      continue;
    }
    if (step.kind == Step::kPrepend) {
      if (text.empty()) continue;
      text.insert(0, step.text);
      if (lead != nullptr && *lead > 0) *lead += step.text.size();
    } else {
      if (lead != nullptr) *lead = run(step, text.substr(0, *lead), false).size();
      text = run(step, text, true);
    }
    if (lead != nullptr) *lead = character_end(text, *lead);
    room.take(text.size());
  }
  return text;
}

}  // namespace um
