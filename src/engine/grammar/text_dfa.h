// TextDfa: a deterministic automaton over Unicode characters, as a table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/grammar/code_set.h"

namespace um {

struct TextDfa {
  static constexpr int32_t kNowhere = -1;
  std::vector<CodeSet> letters = {};  ///< disjoint sets of characters that no state tells apart
  std::vector<int32_t> next = {};     ///< [state][letter]; kNowhere: no text goes on like that
  std::vector<bool> accepts = {};     ///< by state; state 0 is the start

  size_t states() const { return accepts.size(); }
  std::span<const int32_t> row(size_t state) const {
    return std::span(next).subspan(state * letters.size(), letters.size());
  }
};

/// The same texts in fewer states: equal ones become one, and those that no text goes through go
/// (Moore 1956). An automaton that would take long stays as it is.
TextDfa reduced(const TextDfa& dfa);

/// The texts of `min` to `max` characters (negative: without limit). Nothing if that takes more
/// than `limit` states.
std::optional<TextDfa> with_length(const TextDfa& dfa, int64_t min, int64_t max, size_t limit);

/// The automaton as edges: the letters that lead from one state to another as one set.
struct TextEdges {
  struct Edge {
    size_t set;
    int32_t to;
  };
  std::vector<CodeSet> sets;
  std::vector<std::vector<Edge>> from;  ///< by state
};
TextEdges edges_of(const TextDfa& dfa);

}  // namespace um
