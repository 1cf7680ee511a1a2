// Grammar: a set of texts as rules over bytes. Each rule is a small automaton whose edges read a
// byte, read nothing, or call another rule; a stack of return states makes it a pushdown automaton.
// Built once by regex.h or schema.h, then fixed; automaton.h runs it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/grammar/code_set.h"

namespace um {

class Grammar {
 public:
  using State = int32_t;
  using Rule = int32_t;

  static constexpr int kMaxStates = 200'000;
  static constexpr int kMaxEdges = 1'000'000;
  /// Calls that may be open at once. What would need more cannot be written.
  static constexpr int kMaxDepth = 96;
  /// The most characters that `room` counts to.
  static constexpr int kRoom = 32;
  static constexpr int kNever = 1 << 20;

  struct Edge {
    enum Kind : uint8_t { kBytes, kEmpty, kCall } kind;
    uint8_t low, high;  ///< kBytes: any byte of these
    Rule rule;          ///< kCall
    State from, to;
  };

  // --- Building. All throw UsageError when the grammar becomes too large.

  State add_state();
  /// A rule with a start and an end state.
  Rule add_rule();
  State start(Rule rule) const { return rules_[static_cast<size_t>(rule)].first; }
  State end(Rule rule) const { return rules_[static_cast<size_t>(rule)].second; }

  void add_bytes(State from, uint8_t low, uint8_t high, State to);
  void add_empty(State from, State to);
  void add_call(State from, Rule rule, State to);
  /// The bytes of `text`, one after the other. Not for an empty text.
  void add_literal(State from, std::string_view text, State to);
  /// Any of the texts, none of them empty; their common beginnings share states.
  void add_literals(State from, std::span<const std::string> texts, State to);
  /// One character of the set in UTF-8: by edges of its own, or by a rule that all uses share.
  void add_utf8(State from, const CodeSet& set, State to);
  void add_characters(State from, const CodeSet& set, State to);
  /// Notes that `from` reads any of plain_characters() (by edges already there) and goes to `to`.
  void note_plain(State from, State to);
  /// Notes that from here plain characters are read only as note_plain() says, until one that is
  /// not plain.
  void note_closed(State state);
  /// Says why a part has no text, for the error where that leaves none; the first is kept.
  void note_missing(std::string why);

  /// Ends the building: `root` is the rule of whole texts. Throws UsageError if no finite text
  /// fits, or a rule calls itself before it reads a byte.
  void finish(Rule root);

  // --- Reading, after finish().

  Rule root() const { return root_; }
  /// The edges that leave a state.
  std::span<const Edge> edges(State state) const {
    const auto i = static_cast<size_t>(state);
    return std::span(edges_).subspan(first_edge_[i], first_edge_[i + 1] - first_edge_[i]);
  }
  bool is_end(State state) const { return is_end_[static_cast<size_t>(state)]; }
  /// Open calls it takes at least to reach the end of the state's rule; kNever: it cannot.
  int need(State state) const { return need_[static_cast<size_t>(state)]; }
  /// So many plain characters can follow for certain (at most kRoom), and ...
  int room(State state) const { return room_[static_cast<size_t>(state)]; }
  /// ... more than that cannot.
  bool closed(State state) const { return closed_[static_cast<size_t>(state)]; }
  /// Every plain text that begins with a character outside ASCII can follow, up to kRoom
  /// characters.
  bool free_wide(State state) const { return free_wide_[static_cast<size_t>(state)]; }
  /// Bytes that no edge tells apart share a class.
  int byte_class(uint8_t byte) const { return byte_class_[byte]; }
  int byte_classes() const { return byte_classes_; }
  uint8_t class_byte(int index) const { return class_byte_[static_cast<size_t>(index)]; }
  size_t states() const { return is_end_.size(); }

 private:
  class ByState;
  void add_edge(const Edge& edge);
  void sort_edges();
  void find_need();
  void find_room();
  void find_byte_classes();
  void refuse_left_recursion() const;

  std::vector<Edge> edges_;
  std::vector<size_t> first_edge_;  // by state, once sorted
  std::vector<std::pair<State, State>> rules_, plain_, wide_;
  std::vector<bool> is_end_, closed_, free_wide_;
  std::vector<int> need_;
  std::vector<int8_t> room_;
  struct CharacterRule {
    Rule rule = -1;
    bool plain = false, wide = false;  // all plain characters are in; all those outside ASCII
  };
  std::map<CodeSet, CharacterRule> character_rules_;
  std::array<int, 256> byte_class_{};
  std::array<uint8_t, 256> class_byte_{};
  int byte_classes_ = 0;
  Rule root_ = -1;
  std::string missing_;
};

}  // namespace um
