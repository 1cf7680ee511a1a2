// See added_tokens.h.
#include "text/added_tokens.h"

#include <algorithm>
#include <cstddef>

#include "text/unicode.h"

namespace um {
namespace {

bool stands_alone(std::string_view before, std::string_view after) {
  return (before.empty() || !is_word_code(first_code(last_character(before)))) &&
         (after.empty() || !is_word_code(first_code(after)));
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
  nodes_.assign(1, {.end = tokens_.size()});
  for (size_t i = 0; i < nodes_.size(); ++i) grow(i);
}

/// Finds out what a node reads, and adds its children.
void AddedTokens::grow(size_t index) {
  Node node = nodes_[index];
  if (node.begin == node.end) return;
  const auto text = [&](size_t token) -> std::string_view { return tokens_[token].text; };
  const std::string_view first = text(node.begin), last = text(node.end - 1);
  node.stop = node.start;
  while (node.stop < std::min(first.size(), last.size()) && first[node.stop] == last[node.stop])
    ++node.stop;
  size_t at = node.begin;
  for (; at < node.end && text(at).size() == node.stop; ++at) node.ends = true, node.token = at;
  node.children = nodes_.size();
  while (at < node.end) {
    const char byte = text(at)[node.stop];
    const size_t begin = at;
    while (at < node.end && text(at)[node.stop] == byte) ++at;
    nodes_.push_back({.begin = begin, .end = at, .start = node.stop});
  }
  node.children_end = nodes_.size();
  nodes_[index] = node;
}

/// The longest token at the front of `text`, in at most as many steps as it, or a longer one that
/// begins alike, has bytes.
const AddedToken* AddedTokens::match(std::string_view text) const {
  const AddedToken* longest = nullptr;
  for (const Node* node = &nodes_[0];;) {
    const std::string_view read = tokens_[node->begin].text;
    if (text.substr(node->start, node->stop - node->start) !=
        read.substr(node->start, node->stop - node->start))
      return longest;
    if (node->ends) longest = &tokens_[node->token];
    if (node->stop >= text.size()) return longest;
    const auto begin = nodes_.begin() + static_cast<ptrdiff_t>(node->children);
    const auto end = nodes_.begin() + static_cast<ptrdiff_t>(node->children_end);
    const auto byte_of = [&](const Node& child) {
      return static_cast<uint8_t>(tokens_[child.begin].text[child.start]);
    };
    const auto next =
        std::lower_bound(begin, end, static_cast<uint8_t>(text[node->stop]),
                         [&](const Node& child, uint8_t byte) { return byte_of(child) < byte; });
    if (next == end) return longest;
    node = &*next;
  }
}

void AddedTokens::cut(std::string_view text, const std::function<void(std::string_view)>& plain,
                      const std::function<void(const AddedToken&)>& token,
                      const Accept& accept) const {
  size_t begin = 0, at = 0;  // of what is not given away yet; of where tokens are looked for
  size_t white = 0;          // the end of white space that was looked through
  while (!tokens_.empty() && at < text.size()) {
    const AddedToken* found =
        begins_[static_cast<uint8_t>(text[at])] ? match(text.substr(at)) : nullptr;
    if (found == nullptr || (accept && !accept(*found, at))) {
      ++at;
      continue;
    }
    size_t start = at, stop = at + found->text.size();
    at = stop;
    if (found->single_word && !stands_alone(text.substr(0, start), text.substr(stop))) continue;
    while (found->lstrip && start > begin) {
      const std::string_view last = last_character(text.substr(begin, start - begin));
      if (!is_white_space(first_code(last))) break;
      start -= last.size();
    }
    if (found->rstrip) stop = std::max(stop, white);
    while (found->rstrip && stop < text.size() && is_white_space(first_code(text.substr(stop)))) {
      do ++stop;
      while (stop < text.size() && (static_cast<uint8_t>(text[stop]) & 0xC0) == 0x80);
    }
    if (found->rstrip) white = stop;
    if (found->lstrip && begin >= stop) continue;  // all of it is swallowed already
    if (start > begin) plain(text.substr(begin, start - begin));
    token(*found);
    begin = stop;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

}  // namespace um
