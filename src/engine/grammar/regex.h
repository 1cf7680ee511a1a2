// Regular expressions as grammars: literals, `.`, classes, \d \w \s (ASCII, as in ECMAScript),
// groups, alternatives, and * + ? {m,n}. Anchors only around the whole or around one of its
// alternatives. No look-around, back-references, word borders or flags: those are refused by name.
#pragma once

#include <string_view>
#include <vector>

#include "engine/grammar/code_set.h"

namespace um {

/// A parsed expression: a tree in an array.
struct Regex {
  struct Node {
    enum Kind { kCharacters, kSequence, kAlternatives, kRepeat } kind = kSequence;
    CodeSet set = {};                ///< kCharacters: one of these
    std::vector<int> children = {};  ///< kRepeat: one
    int min = 0, max = 0;            ///< kRepeat; max kOpen: no limit
  };
  struct Alternative {
    int node = 0;
    bool begins = false, ends = false;  ///< anchored by ^ and $
  };
  static constexpr int kOpen = -1;
  static constexpr int kMaxRepeat = 10'000;

  std::vector<Node> nodes;
  std::vector<Alternative> alternatives;  ///< of the whole

  /// Throws UsageError `WHERE: ...` with the place of what is wrong or not supported.
  static Regex parse(std::string_view pattern, std::string_view where);
};

}  // namespace um
