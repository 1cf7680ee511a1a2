// See normalizer.h.
#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "core/error.h"

namespace um {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxSteps = 64, kMaxText = 1024;

int form_of(std::string_view type) {
  constexpr int kCompose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  constexpr int kDecompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  if (type == "NFC") return kCompose;
  if (type == "NFD") return kDecompose;
  if (type == "NFKC") return kCompose | UTF8PROC_COMPAT;
  return type == "NFKD" ? kDecompose | UTF8PROC_COMPAT : 0;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 128; });
}

std::string to_form(const std::string& text, int form) {
  utf8proc_uint8_t* out = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &out,
                                 static_cast<utf8proc_option_t>(form));
  UM_CHECK(size >= 0, "tokenizer: Unicode normalisation failed: {}", utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, &std::free);
  return std::string(reinterpret_cast<const char*>(out), static_cast<size_t>(size));
}

std::string to_lower(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(&text[at]),
                                       static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    UM_CHECK(size > 0, "tokenizer: text is not UTF-8");
    utf8proc_uint8_t bytes[4];
    const auto count = utf8proc_encode_char(utf8proc_tolower(code), bytes);
    out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
    at += static_cast<size_t>(size);
  }
  return out;
}

std::string strip(const std::string& text, bool left, bool right) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r";
  const size_t begin = left ? text.find_first_not_of(kSpaces) : 0;
  if (begin == std::string::npos) return {};
  const size_t end = right ? text.find_last_not_of(kSpaces) : text.size() - 1;
  return end == std::string::npos || end < begin ? std::string()
                                                 : text.substr(begin, end - begin + 1);
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
                        PcreScratch& scratch) {
  const size_t limit = 100 * text.size() + (1 << 20);
  std::string out;
  size_t at = 0;
  for (PcreMatch match; regex.find(text, at, scratch, match); at = match.end) {
    out.append(text, at, match.begin - at).append(with);
    UM_CHECK(out.size() <= limit, "tokenizer: a Replace makes the text over 100 times longer");
  }
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
  if (const int form = form_of(type)) {
    step.kind = Step::kForm;
    step.form = form;
  } else if (type == "Replace") {
    step.kind = Step::kReplace;
    step.regex.push_back(read_pattern(spec, where));
    step.text = fields.string("content");
  } else if (type == "Prepend") {
    step.kind = Step::kPrepend;
    step.text = fields.string("prepend");
  } else if (type == "Lowercase") {
    step.kind = Step::kLower;
  } else if (type == "Strip") {
    step.kind = Step::kStrip;
    step.left = fields.boolean_or("strip_left", true);
    step.right = fields.boolean_or("strip_right", true);
  } else {
    fail(
        "{}: normalizer {} is not known; known: NFC, NFD, NFKC, NFKD, Replace, Prepend, Lowercase, "
        "Strip, Sequence",
        where, quote(type));
  }
  UM_CHECK(step.text.size() <= kMaxText, "{}: text of {} bytes, the limit is {}", where,
           step.text.size(), kMaxText);
  steps_.push_back(std::move(step));
}

std::string Normalizer::apply(std::string text, PcreScratch& scratch) const {
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::kForm:
        if (!is_ascii(text)) text = to_form(text, step.form);
        break;
      case Step::kReplace:
        text = replace_all(text, step.regex[0], step.text, scratch);
        break;
      case Step::kPrepend:
        if (!text.empty()) text.insert(0, step.text);
        break;
      case Step::kLower:
        text = to_lower(text);
        break;
      case Step::kStrip:
        text = strip(text, step.left, step.right);
        break;
    }
  }
  return text;
}

}  // namespace um
