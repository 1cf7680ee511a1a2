// See added_tokens.h.
#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace um {
namespace {

bool stands_alone(std::string_view before, std::string_view after) {
  return (before.empty() || !is_word_code(first_code(last_character(before)))) &&
         (after.empty() || !is_word_code(first_code(after)));
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
      const std::string_view last = last_character(text.substr(begin, start - begin));
      if (!is_white_space(first_code(last))) break;
      start -= last.size();
    }
    while (found->rstrip && stop < text.size() && is_white_space(first_code(text.substr(stop)))) {
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
