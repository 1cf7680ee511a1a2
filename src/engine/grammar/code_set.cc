// See code_set.h.
#include "engine/grammar/code_set.h"

#include <algorithm>

#include "text/utf8.h"

namespace um {

CodeSet::CodeSet(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end());
  const auto add = [&](uint32_t first, uint32_t last) {
    if (first > last) return;
    if (!ranges_.empty() && first <= ranges_.back().second + 1)
      ranges_.back().second = std::max(ranges_.back().second, last);
    else
      ranges_.emplace_back(first, last);
  };
  for (const auto& [first, last] : ranges) {
    add(first, std::min(last, 0xd7ffu));
    add(std::max(first, 0xe000u), std::min(last, 0x10ffffu));
  }
}

CodeSet CodeSet::all() {
  return CodeSet({{0, 0x10ffff}});
}

bool CodeSet::contains(uint32_t code) const {
  const auto at = std::upper_bound(ranges_.begin(), ranges_.end(), Range{code, 0xffffffff});
  return at != ranges_.begin() && std::prev(at)->second >= code;
}

CodeSet CodeSet::operator|(const CodeSet& other) const {
  std::vector<Range> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return {std::move(both)};
}

CodeSet CodeSet::operator-(const CodeSet& other) const {
  std::vector<Range> left;
  auto cut = other.ranges_.begin();
  for (auto [first, last] : ranges_) {
    while (cut != other.ranges_.end() && cut->second < first) ++cut;
    for (auto at = cut; at != other.ranges_.end() && at->first <= last && first <= last; ++at) {
      if (at->first > first) left.emplace_back(first, at->first - 1);
      first = at->second + 1;
    }
    if (first <= last) left.emplace_back(first, last);
  }
  CodeSet made;  // sorted, and apart
  made.ranges_ = std::move(left);
  return made;
}

const CodeSet& plain_characters() {
  static const CodeSet plain =
      CodeSet({{0x20, 0x10ffff}}) - CodeSet({{'"', '"'}, {'\\', '\\'}, {0x2028, 0x2029}});
  return plain;
}

std::vector<uint32_t> decode_utf8(std::string_view text) {
  std::vector<uint32_t> codes;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = utf8_step(text.substr(at)).bytes;
    const auto byte = [&](size_t i) {
      return static_cast<uint32_t>(static_cast<uint8_t>(text[i]));
    };
    uint32_t code = bytes == 1 ? byte(at) : byte(at) & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; ++i) code = code << 6 | (byte(at + i) & 0x3f);
    codes.push_back(code);
    at += bytes;
  }
  return codes;
}

}  // namespace um
