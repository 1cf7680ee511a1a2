// See added_tokens.h.
#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

namespace um {
namespace {

/// The character at the front of valid UTF-8, or before its end.
utf8proc_int32_t first_character(std::string_view text) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &code);
  return code;
}

std::string_view last_bytes(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

bool is_space(utf8proc_int32_t code) {
  if (code == 0x85 || (code >= 9 && code <= 13)) return true;
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP;
}

bool is_word(utf8proc_int32_t code) {  // letters, marks, numbers, connectors
  const auto category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_PC;
}

bool stands_alone(std::string_view before, std::string_view after) {
  return (before.empty() || !is_word(first_character(last_bytes(before)))) &&
         (after.empty() || !is_word(first_character(after)));
}

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  if (token.text.empty()) return;
  begins_[static_cast<uint8_t>(token.text[0])] = true;
  tokens_.push_back(std::move(token));
}

void AddedTokens::finish() {
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
}

/// The longest token at the front of `text`. All its prefixes sort at or before it; what lies in
/// between shortens the part that can still match.
const AddedToken* AddedTokens::match(std::string_view text) const {
  auto end = tokens_.end();
  while (!text.empty()) {
    end = std::upper_bound(tokens_.begin(), end, text,
                           [](std::string_view a, const AddedToken& b) { return a < b.text; });
    if (end == tokens_.begin()) return nullptr;
    const AddedToken& candidate = *(end - 1);
    if (text.starts_with(candidate.text)) return &candidate;
    text = text.substr(0, common_prefix(text, candidate.text));
  }
  return nullptr;
}

void AddedTokens::cut(std::string_view text, const std::function<void(std::string_view)>& plain,
                      const std::function<void(const AddedToken&)>& token,
                      const Accept& accept) const {
  size_t begin = 0, at = 0;
  while (!tokens_.empty() && at < text.size()) {
    const AddedToken* found =
        begins_[static_cast<uint8_t>(text[at])] ? match(text.substr(at)) : nullptr;
    if (found == nullptr || (accept && !accept(*found, at))) {
      ++at;
      continue;
    }
    size_t stop = at + found->text.size();
    if (found->single_word && !stands_alone(text.substr(0, at), text.substr(stop))) {
      at = stop;
      continue;
    }
    size_t start = at;
    while (found->lstrip && start > begin) {
      const std::string_view last = last_bytes(text.substr(begin, start - begin));
      if (!is_space(first_character(last))) break;
      start -= last.size();
    }
    while (found->rstrip && stop < text.size() && is_space(first_character(text.substr(stop)))) {
      do ++stop;
      while (stop < text.size() && (static_cast<uint8_t>(text[stop]) & 0xC0) == 0x80);
    }
    if (start > begin) plain(text.substr(begin, start - begin));
    token(*found);
    begin = at = stop;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

}  // namespace um
