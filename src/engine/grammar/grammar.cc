// See grammar.h.
#include "engine/grammar/grammar.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "core/error.h"
#include "core/stop_scope.h"

namespace um {
namespace {

struct ByteRange {
  uint8_t low, high;
};

/// Calls `use` with sequences of byte ranges that together are the UTF-8 of the characters first
/// … last, which lie in one length class and hold no surrogates.
template <class Use>
void split_utf8(uint32_t first, uint32_t last, int length, const Use& use) {
  static constexpr std::array<uint8_t, 5> kLead = {0, 0, 0xc0, 0xe0, 0xf0};
  if (length == 1) {
    const ByteRange one{static_cast<uint8_t>(first), static_cast<uint8_t>(last)};
    use(std::span(&one, 1));
    return;
  }
  // Split until all but one of the lower six-bit groups are whole or equal.
  for (int group = length - 1; group > 0; --group) {
    const uint32_t mask = (1u << (6 * group)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      split_utf8(first, first | mask, length, use);
      split_utf8((first | mask) + 1, last, length, use);
      return;
    }
    if ((last & mask) != mask) {
      split_utf8(first, (last & ~mask) - 1, length, use);
      split_utf8(last & ~mask, last, length, use);
      return;
    }
  }
  std::array<ByteRange, 4> bytes{};
  for (int i = 0; i < length; ++i) {
    const int shift = 6 * (length - 1 - i);
    const uint8_t lead = i == 0 ? kLead[static_cast<size_t>(length)] : 0x80;
    const uint32_t mask = i == 0 ? 0x1f : 0x3f;
    bytes[static_cast<size_t>(i)] = {static_cast<uint8_t>(lead | ((first >> shift) & mask)),
                                     static_cast<uint8_t>(lead | ((last >> shift) & mask))};
  }
  use(std::span<const ByteRange>(bytes).first(static_cast<size_t>(length)));
}

}  // namespace

Grammar::State Grammar::add_state() {
  check_stop();
  if (is_end_.size() >= kMaxStates)
    throw UsageError(fmt::format(
        "the constraint is too large: more than {} states; lower its counts (maxLength, maxItems, "
        "{{m,n}}) or its number of alternatives",
        kMaxStates));
  count_memory(160);  // with what its writer notes of it
  is_end_.push_back(false);
  closed_.push_back(false);
  return static_cast<State>(is_end_.size() - 1);
}

Grammar::Rule Grammar::add_rule() {
  const State first = add_state(), last = add_state();
  is_end_[static_cast<size_t>(last)] = true;
  rules_.emplace_back(first, last);
  return static_cast<Rule>(rules_.size() - 1);
}

void Grammar::add_edge(const Edge& edge) {
  check_stop();
  if (edges_.size() >= kMaxEdges)
    throw UsageError(
        fmt::format("the constraint is too large: more than {} transitions", kMaxEdges));
  count_memory(3 * sizeof(Edge));  // while the list grows, and is sorted
  edges_.push_back(edge);
}

void Grammar::add_bytes(State from, uint8_t low, uint8_t high, State to) {
  add_edge({Edge::kBytes, low, high, -1, from, to});
}

void Grammar::add_empty(State from, State to) {
  if (from != to) add_edge({Edge::kEmpty, 0, 0, -1, from, to});
}

void Grammar::add_call(State from, Rule rule, State to) {
  add_edge({Edge::kCall, 0, 0, rule, from, to});
}

void Grammar::add_literal(State from, std::string_view text, State to) {
  for (size_t i = 0; i < text.size(); ++i) {
    const State next = i + 1 == text.size() ? to : add_state();
    const auto byte = static_cast<uint8_t>(text[i]);
    add_bytes(from, byte, byte, next);
    from = next;
  }
}

void Grammar::add_literals(State from, std::span<const std::string> texts, State to) {
  std::map<std::pair<State, char>, State> known;
  std::set<std::pair<State, char>> ends;
  for (const std::string& text : texts) {
    State at = from;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<uint8_t>(text[i]);
      if (i + 1 == text.size()) {
        if (ends.emplace(at, text[i]).second) add_bytes(at, byte, byte, to);
        break;
      }
      const auto [next, is_new] = known.try_emplace({at, text[i]}, -1);
      if (is_new) {
        next->second = add_state();
        add_bytes(at, byte, byte, next->second);
      }
      at = next->second;
    }
  }
}

void Grammar::add_utf8(State from, const CodeSet& set, State to) {
  std::map<std::tuple<uint8_t, uint8_t, State>, State> tails;  // shared ends of sequences
  const auto add = [&](std::span<const ByteRange> bytes) {
    State next = to;
    for (size_t i = bytes.size() - 1; i > 0; --i) {
      const auto [tail, is_new] = tails.try_emplace({bytes[i].low, bytes[i].high, next}, -1);
      if (is_new) {
        tail->second = add_state();
        add_bytes(tail->second, bytes[i].low, bytes[i].high, next);
      }
      next = tail->second;
    }
    add_bytes(from, bytes[0].low, bytes[0].high, next);
  };
  constexpr std::array<CodeSet::Range, 4> kLengths = {
      {{0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xffff}, {0x10000, 0x10ffff}}};
  for (const auto& [first, last] : set.ranges())
    for (size_t n = 0; n < 4; ++n) {
      const uint32_t low = std::max(first, kLengths[n].first);
      const uint32_t high = std::min(last, kLengths[n].second);
      if (low <= high) split_utf8(low, high, static_cast<int>(n) + 1, add);
    }
}

void Grammar::add_characters(State from, const CodeSet& set, State to) {
  if (set.empty() || set.ranges().back().second < 0x80) {
    add_utf8(from, set, to);
    return;
  }
  static const CodeSet wide_characters = plain_characters() - CodeSet({{0, 0x7f}});
  const auto [known, is_new] = character_rules_.try_emplace(set);
  CharacterRule& made = known->second;
  if (is_new) {
    made.rule = add_rule();
    made.plain = set.contains(plain_characters());
    made.wide = set.contains(wide_characters);
    add_utf8(start(made.rule), set, end(made.rule));
  }
  add_call(from, made.rule, to);
  if (made.plain) note_plain(from, to);
  if (made.wide) wide_.emplace_back(from, to);
}

void Grammar::note_plain(State from, State to) {
  plain_.emplace_back(from, to);
}

void Grammar::note_closed(State state) {
  closed_[static_cast<size_t>(state)] = true;
}

void Grammar::finish(Rule root) {
  root_ = root;
  sort_edges();
  find_need();
  if (need(start(root)) > kMaxDepth)
    throw UsageError(
        need(start(root)) == kNever
            ? std::string("the constraint cannot be met: no finite text fits it")
            : fmt::format("the constraint is nested deeper than {} levels", kMaxDepth));
  refuse_left_recursion();
  find_room();
  find_byte_classes();
}

void Grammar::sort_edges() {
  first_edge_.assign(is_end_.size() + 1, 0);
  for (const Edge& edge : edges_) ++first_edge_[static_cast<size_t>(edge.from) + 1];
  for (size_t i = 1; i < first_edge_.size(); ++i) first_edge_[i] += first_edge_[i - 1];
  std::vector<size_t> place(first_edge_.begin(), first_edge_.end() - 1);
  std::vector<Edge> sorted(edges_.size());
  for (const Edge& edge : edges_) sorted[place[static_cast<size_t>(edge.from)]++] = edge;
  edges_ = std::move(sorted);
}

/// Lists of small numbers by state in one piece of memory: as fast to make as two passes.
class Grammar::ByState {
 public:
  /// `list` calls its argument with each (state, value), twice in the same order.
  template <class List>
  ByState(size_t states, const List& list) : first_(states + 2) {
    list([&](State state, State) { ++first_[static_cast<size_t>(state) + 2]; });
    for (size_t i = 2; i < first_.size(); ++i) first_[i] += first_[i - 1];
    values_.resize(first_.back());
    list([&](State state, State value) {
      values_[first_[static_cast<size_t>(state) + 1]++] = value;
    });
  }
  std::span<const State> operator[](State state) const {
    const size_t begin = first_[static_cast<size_t>(state)];
    return std::span(values_).subspan(begin, first_[static_cast<size_t>(state) + 1] - begin);
  }

 private:
  std::vector<size_t> first_;
  std::vector<State> values_;
};

/// Knuth's generalisation of Dijkstra's algorithm (1977): the least depth that finishes each state,
/// in ascending order; depths are small, so states wait in a list for each.
void Grammar::find_need() {
  const ByState used_by(is_end_.size(), [&](const auto& add) {  // edges that lead or call there
    for (size_t i = 0; i < edges_.size(); ++i) {
      add(edges_[i].to, static_cast<State>(i));
      if (edges_[i].kind == Edge::kCall) add(start(edges_[i].rule), static_cast<State>(i));
    }
  });
  need_.assign(is_end_.size(), kNever);
  std::vector<std::vector<State>> waiting(1);
  for (const auto& rule : rules_) {
    need_[static_cast<size_t>(rule.second)] = 0;
    waiting[0].push_back(rule.second);
  }
  for (size_t depth = 0; depth < waiting.size(); ++depth) {
    while (!waiting[depth].empty()) {
      const State state = waiting[depth].back();
      waiting[depth].pop_back();
      if (need(state) < static_cast<int>(depth)) continue;
      for (const State i : used_by[state]) {
        const Edge& edge = edges_[static_cast<size_t>(i)];
        int value = need(edge.to);
        if (edge.kind == Edge::kCall) value = std::max(value, need(start(edge.rule)) + 1);
        if (value >= need(edge.from)) continue;
        need_[static_cast<size_t>(edge.from)] = value;
        if (waiting.size() <= static_cast<size_t>(value))
          waiting.resize(static_cast<size_t>(value) + 1);
        waiting[static_cast<size_t>(value)].push_back(edge.from);
      }
    }
  }
}

/// Rules never match the empty text (their builders see to that), so what a rule calls before its
/// first byte is found along empty edges alone.
void Grammar::refuse_left_recursion() const {
  std::vector<std::vector<Rule>> calls(rules_.size());
  std::vector<int> seen(is_end_.size(), -1);
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    std::vector<State> open = {rules_[rule].first};
    while (!open.empty()) {
      const State state = open.back();
      open.pop_back();
      if (seen[static_cast<size_t>(state)] == static_cast<int>(rule)) continue;
      seen[static_cast<size_t>(state)] = static_cast<int>(rule);
      for (const Edge& edge : edges(state)) {
        if (edge.kind == Edge::kEmpty) open.push_back(edge.to);
        if (edge.kind == Edge::kCall) calls[rule].push_back(edge.rule);
      }
    }
  }
  // Kahn: take away rules that nobody left calls; what stays lies on a cycle.
  std::vector<int> callers(rules_.size(), 0);
  for (const auto& list : calls)
    for (const Rule rule : list) ++callers[static_cast<size_t>(rule)];
  std::vector<size_t> open;
  for (size_t rule = 0; rule < rules_.size(); ++rule)
    if (callers[rule] == 0) open.push_back(rule);
  size_t gone = 0;
  while (!open.empty()) {
    const size_t rule = open.back();
    open.pop_back();
    ++gone;
    for (const Rule called : calls[rule])
      if (--callers[static_cast<size_t>(called)] == 0) open.push_back(static_cast<size_t>(called));
  }
  if (gone < rules_.size())
    throw UsageError("the constraint refers to itself without anything in between");
}

/// Round by round: the states that can read one plain character more. What falls behind in a round
/// stays behind.
void Grammar::find_room() {
  room_.assign(is_end_.size(), 0);
  free_wide_.assign(is_end_.size(), false);
  // need ≤ 1: the depth that reading characters takes anyway (see Automaton::mask).
  std::erase_if(plain_, [&](const auto& pair) { return need(pair.second) > 1; });
  if (plain_.empty()) return;
  const ByState empty_into(is_end_.size(), [&](const auto& add) {
    for (const Edge& edge : edges_)
      if (edge.kind == Edge::kEmpty) add(edge.to, edge.from);
  });
  std::vector<State> open;
  // Marks a state, and those that reach it without reading.
  const auto spread = [&](State from, const auto& mark) {
    open.push_back(from);
    while (!open.empty()) {
      const State state = open.back();
      open.pop_back();
      if (mark(static_cast<size_t>(state)))
        for (const State before : empty_into[state]) open.push_back(before);
    }
  };
  const auto raise = [&](State from, int room) {
    spread(from, [&](size_t state) {
      return room_[state] < room && (room_[state] = static_cast<int8_t>(room)) == room;
    });
  };
  // Loops and, from their ends, the chains that lead to them: nearly all there is.
  for (const auto& [from, to] : plain_)
    if (from == to) raise(from, kRoom);
  for (auto pair = plain_.rbegin(); pair != plain_.rend(); ++pair)
    raise(pair->first, std::min(kRoom, room(pair->second) + 1));
  std::erase_if(plain_, [&](const auto& pair) { return room(pair.first) == kRoom; });
  for (int round = 1; round <= kRoom && !plain_.empty(); ++round) {
    std::erase_if(plain_, [&](const auto& pair) { return room(pair.second) < round - 1; });
    for (const auto& pair : plain_) raise(pair.first, round);
  }
  for (const auto& [from, to] : wide_)
    if (room(to) == kRoom && need(to) <= 1)
      spread(from, [&](size_t state) { return !free_wide_[state] && (free_wide_[state] = true); });
}

void Grammar::find_byte_classes() {
  std::array<bool, 257> begins{};
  begins[0] = true;
  for (const Edge& edge : edges_) {
    if (edge.kind != Edge::kBytes) continue;
    begins[edge.low] = true;
    begins[edge.high + 1u] = true;
  }
  byte_classes_ = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (begins[byte])
      class_byte_[static_cast<size_t>(byte_classes_++)] = static_cast<uint8_t>(byte);
    byte_class_[byte] = byte_classes_ - 1;
  }
}

}  // namespace um
