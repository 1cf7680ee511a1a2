// CodeSet: a set of Unicode characters as sorted ranges. Surrogates are never members.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace um {

class CodeSet {
 public:
  using Range = std::pair<uint32_t, uint32_t>;  ///< first and last

  CodeSet() = default;
  /// Any ranges in any order.
  CodeSet(
      std::vector<Range> ranges);  // NOLINT(google-explicit-constructor): sets are written as lists
  static CodeSet all();

  const std::vector<Range>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(uint32_t code) const;
  bool contains(const CodeSet& other) const { return (other - *this).empty(); }

  CodeSet operator|(const CodeSet& other) const;
  CodeSet operator-(const CodeSet& other) const;
  CodeSet operator&(const CodeSet& other) const { return *this - (*this - other); }
  auto operator<=>(const CodeSet&) const = default;  // NOLINT(modernize-use-nullptr): not one

 private:
  std::vector<Range> ranges_;
};

/// Characters of a JSON string that stand for themselves and that every text has: all but control
/// characters, quote, backslash and U+2028/2029 (which `.` of a regular expression leaves out). A
/// token of only these is "plain" (token_trie.h).
const CodeSet& plain_characters();

/// The characters of a text, which must be valid UTF-8.
std::vector<uint32_t> decode_utf8(std::string_view text);

}  // namespace um
