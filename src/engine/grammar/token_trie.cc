// See token_trie.h.
#include "engine/grammar/token_trie.h"

#include <algorithm>
#include <numeric>

#include "text/utf8.h"

namespace um {
namespace {

/// Characters of a plain token, or -1.
int plain_length(std::string_view text) {
  int count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    const Utf8Step step = utf8_step(text.substr(at));
    const auto first = static_cast<uint8_t>(text[at]);
    if (step.kind != Utf8Step::kValid || first < 0x20 || first == '"' || first == '\\') return -1;
    const std::string_view character = text.substr(at, step.bytes);
    if (character == "\u2028" || character == "\u2029") return -1;
    at += step.bytes;
  }
  return count <= Grammar::kRoom ? count : -1;
}

}  // namespace

TokenTrie::TokenTrie(std::vector<std::string> bytes) : bytes_(std::move(bytes)) {
  std::vector<int32_t> plain, rest;
  plain_up_to_.assign(Grammar::kRoom + 1, no_tokens());
  for (size_t i = 0; i < bytes_.size(); ++i) {
    if (bytes_[i].size() > 255) bytes_[i].clear();
    if (bytes_[i].empty()) continue;
    const auto id = static_cast<int32_t>(i);
    const int length = plain_length(bytes_[i]);
    (length < 0 ? rest : plain).push_back(id);
    for (int n = std::max(length, 0); length > 0 && n <= Grammar::kRoom; ++n)
      set_bit(plain_up_to_[static_cast<size_t>(n)], id);
  }
  plain_ = make_part(std::move(plain));
  rest_ = make_part(std::move(rest));
}

TokenTrie::Part TokenTrie::make_part(std::vector<int32_t> ids) const {
  std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const int order = bytes(a).compare(bytes(b));
    return order != 0 ? order < 0 : a < b;
  });
  Part part;
  std::vector<size_t> path;  // the nodes of the last token
  const auto leave = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      part.nodes[path.back()].branch = static_cast<uint32_t>(part.nodes.size() - path.back());
  };
  std::string_view last;
  for (const int32_t id : ids) {
    const std::string_view text = bytes(id);
    const auto split = std::mismatch(last.begin(), last.end(), text.begin(), text.end());
    leave(static_cast<size_t>(split.second - text.begin()));
    for (size_t depth = path.size(); depth < text.size(); ++depth) {
      path.push_back(part.nodes.size());
      part.nodes.push_back({1, static_cast<uint32_t>(part.tokens.size()),
                            static_cast<uint8_t>(text[depth]), static_cast<uint8_t>(depth)});
    }
    part.tokens.push_back(id);
    last = text;
  }
  leave(0);
  part.nodes.push_back({1, static_cast<uint32_t>(part.tokens.size()), 0, 0});
  return part;
}

}  // namespace um
