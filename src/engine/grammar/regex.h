// Regular expressions as trees: literals, `.`, classes, \d \w \s (as in ECMAScript), \p{...} of
// general categories, groups, alternatives, * + ? {m,n}, anchors, word borders, look-ahead and the
// flags i, s, a, u. Look-behind and back-references are refused by name.
#pragma once

#include <string_view>
#include <vector>

#include "engine/grammar/code_set.h"

namespace um {

/// A parsed expression: a tree in an array.
struct Regex {
  struct Node {
    enum Kind {
      kCharacters,
      kSequence,
      kAlternatives,
      kRepeat,
      // What reads nothing:
      kBegin,
      kEnd,
      kBorder,
      kNoBorder,
      kAhead,
      kNotAhead
    } kind = kSequence;
    CodeSet set = {};                ///< kCharacters: one of these
    std::vector<int> children = {};  ///< kRepeat, kAhead, kNotAhead: one
    int min = 0, max = 0;            ///< kRepeat; max kOpen: no limit
  };
  struct Alternative {
    int node = 0;
    bool begins = false, ends = false;  ///< anchored by ^ and $
  };
  static constexpr int kOpen = -1;
  static constexpr int kMaxRepeat = 10'000;

  std::vector<Node> nodes;
  int root = 0;
  /// Without assertions but ^ and $ around the whole or its alternatives, and these then.
  bool plain = false;
  std::vector<Alternative> alternatives;

  /// Throws UsageError `WHERE: ...` with the place of what is wrong or not supported.
  static Regex parse(std::string_view pattern, std::string_view where);
  /// Whether the part has anything that reads nothing.
  bool asserts(int node) const;
};

/// The characters \w stands for.
const CodeSet& word_characters();

}  // namespace um
