// See json_rules.h.
#include "engine/grammar/json_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "core/error.h"

namespace um {
namespace {

constexpr int kWholeDigits = 18, kFractionDigits = 15, kExponentDigits = 2;

using State = Grammar::State;

/// Adds a node of an expression between two states of `Target`, which has add_state(), add_empty()
/// and add_characters().
template <class Target>
class RegexWriter {
 public:
  RegexWriter(Target& target, const Regex& regex) : target_(target), regex_(regex) {}

  void add(int index, State from, State to) {
    const Regex::Node& node = regex_.nodes[static_cast<size_t>(index)];
    switch (node.kind) {
      case Regex::Node::kCharacters:
        target_.add_characters(from, node.set, to);
        break;
      case Regex::Node::kAlternatives:
        for (const int child : node.children) add(child, from, to);
        break;
      case Regex::Node::kSequence:
        for (size_t i = 0; i < node.children.size(); ++i) {
          const State next = i + 1 == node.children.size() ? to : target_.add_state();
          add(node.children[i], from, next);
          from = next;
        }
        if (node.children.empty()) target_.add_empty(from, to);
        break;
      case Regex::Node::kRepeat:
        repeat(node, from, to);
        break;
      default:  // assertions: such an expression is not plain
        break;
    }
  }

 private:
  void repeat(const Regex::Node& node, State from, State to) {
    const auto once_more = [&] {
      const State next = target_.add_state();
      add(node.children[0], from, next);
      from = next;
    };
    for (int i = 0; i < node.min; ++i) once_more();
    if (node.max == Regex::kOpen) {
      const State loop = target_.add_state();
      target_.add_empty(from, loop);
      add(node.children[0], loop, loop);
      target_.add_empty(loop, to);
      return;
    }
    for (int i = node.min; i < node.max; ++i) {
      target_.add_empty(from, to);
      once_more();
    }
    target_.add_empty(from, to);
  }

  Target& target_;
  const Regex& regex_;
};

/// Adds the expression as JSON Schema has it: found anywhere, but for ^ and $. `any` reads any
/// character.
template <class Target>
void add_search(Target& target, const Regex& regex, State begin, State end,
                const std::function<void(State, State)>& any) {
  const State before = target.add_state(), after = target.add_state();
  target.add_empty(begin, before);
  any(before, before);
  RegexWriter<Target> writer(target, regex);
  for (const auto& alternative : regex.alternatives)
    writer.add(alternative.node, alternative.begins ? begin : before,
               alternative.ends ? end : after);
  any(after, after);
  target.add_empty(after, end);
}

const CodeSet& string_characters() {  // those that a JSON string holds as they are
  static const CodeSet set = CodeSet({{0x20, 0x10ffff}}) - CodeSet({{'"', '"'}, {'\\', '\\'}});
  return set;
}

/// How a character that must be escaped is written.
std::string escaped(uint32_t code) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\u{:04x}", code);
  }
}

/// Adds the automaton's states; the state that its texts begin in. `characters` writes one
/// character of a set from a state to another, `end` what stands behind a text that ends in a
/// state.
template <class Characters, class End>
State add_automaton(Grammar& grammar, const TextDfa& dfa, const Characters& characters,
                    const End& end) {
  std::vector<State> states;
  while (states.size() < dfa.states()) states.push_back(grammar.add_state());
  const TextEdges edges = edges_of(dfa);
  for (size_t i = 0; i < states.size(); ++i) {
    for (const auto& edge : edges.from[i])
      characters(states[i], edges.sets[edge.set], states[static_cast<size_t>(edge.to)]);
    if (dfa.accepts[i]) end(states[i]);
  }
  return states[0];
}

/// The automaton's texts as they are.
void add_texts(Grammar& grammar, const TextDfa& dfa, State from, State to) {
  const State first = add_automaton(
      grammar, dfa,
      [&](State a, const CodeSet& set, State b) { grammar.add_characters(a, set, b); },
      [&](State state) { grammar.add_empty(state, to); });
  grammar.add_empty(from, first);
}

/// What may stand in a text without quotes.
const CodeSet& shown_characters() {
  static const CodeSet shown({{'\t', '\n'}, {'\r', '\r'}, {' ', 0x10ffff}});
  return shown;
}

/// The visible part of a mark; nothing of one that has a token in it, which no text can have.
std::string_view visible(std::string_view mark) {
  const size_t first = mark.find_first_not_of(" \n"), last = mark.find_last_not_of(" \n");
  const bool token = mark.find('\xff') != std::string_view::npos;
  return token || first == std::string_view::npos ? "" : mark.substr(first, last + 1 - first);
}

}  // namespace

void add_regex(Grammar& grammar, const Regex& regex, State from, State to) {
  RegexWriter<Grammar> writer(grammar, regex);
  for (const auto& alternative : regex.alternatives) writer.add(alternative.node, from, to);
}

void add_match(Grammar& grammar, const Regex& regex, std::string_view where, State from, State to) {
  constexpr size_t kMaxStates = 20'000;
  TextSets sets;
  const std::optional<TextDfa> dfa = sets.automaton(sets.match(regex, where), kMaxStates);
  if (!dfa)
    throw UsageError(fmt::format("{}: the pattern needs more than {} states", where, kMaxStates));
  add_texts(grammar, *dfa, from, to);
}

/// The rule of that name, filled when it is asked for first.
Grammar::Rule JsonRules::rule(const std::string& name,
                              const std::function<void(State, State)>& fill) {
  const auto [at, is_new] = rules_.try_emplace(name, -1);
  const Grammar::Rule rule = is_new ? at->second = grammar_.add_rule() : at->second;
  if (is_new) fill(grammar_.start(rule), grammar_.end(rule));
  return rule;
}

void JsonRules::space(State from, State to) {
  const auto fill = [&](State start, State end) {
    grammar_.add_bytes(start, ' ', ' ', end);
    const State line = grammar_.add_state();
    grammar_.add_bytes(start, '\n', '\n', line);
    grammar_.add_empty(line, end);
    for (const auto& [byte, count] : {std::pair<uint8_t, int>{' ', 40}, {'\t', 10}}) {
      State last = line;
      for (int i = 0; i < count; ++i) {
        const State next = grammar_.add_state();
        grammar_.add_bytes(last, byte, byte, next);
        grammar_.add_empty(next, end);
        last = next;
      }
    }
  };
  grammar_.add_empty(from, to);
  grammar_.add_call(from, rule("space", fill), to);
}

void JsonRules::escape(State from, State to) {
  const State slash = grammar_.add_state(), u = grammar_.add_state();
  grammar_.add_bytes(from, '\\', '\\', slash);
  for (const char c : std::string_view("\"\\/bfnrt"))
    grammar_.add_bytes(slash, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
  grammar_.add_bytes(slash, 'u', 'u', u);
  const auto hex = [&](State a, std::string_view ranges, State b) {  // "09af": 0 to 9, a to f
    for (size_t i = 0; i + 1 < ranges.size(); i += 2)
      grammar_.add_bytes(a, static_cast<uint8_t>(ranges[i]), static_cast<uint8_t>(ranges[i + 1]),
                         b);
  };
  constexpr std::string_view kAny = "09afAF";
  const auto any_hex = [&](State a, int count, State b) {
    for (int i = 0; i < count; ++i) {
      const State next = i + 1 == count ? b : grammar_.add_state();
      hex(a, kAny, next);
      a = next;
    }
  };
  const State first = grammar_.add_state(), d = grammar_.add_state();
  hex(u, "09acefACEF", first);
  any_hex(first, 3, to);
  hex(u, "ddDD", d);
  const State low = grammar_.add_state(), high = grammar_.add_state();
  hex(d, "07", low);
  any_hex(low, 2, to);
  hex(d, "89abAB", high);  // the first half of a pair: the second must follow
  const State pair = grammar_.add_state(), second = grammar_.add_state();
  any_hex(high, 2, pair);
  const State pair_d = grammar_.add_state();
  grammar_.add_literal(pair, "\\u", second);
  hex(second, "ddDD", pair_d);
  const State pair_low = grammar_.add_state();
  hex(pair_d, "cfCF", pair_low);
  any_hex(pair_low, 2, to);
}

/// One character of a string, as it is or escaped.
void JsonRules::character(State from, State to) {
  const auto fill = [&](State start, State end) {
    grammar_.add_utf8(start, string_characters(), end);
    escape(start, end);
  };
  grammar_.add_call(from, rule("character", fill), to);
  grammar_.note_plain(from, to);
  grammar_.note_closed(from);
}

/// A rule of its own, so that the depth which the rest of the text needs is not this part's
/// concern.
void JsonRules::in_rule(State from, State to, const std::function<void(State, State)>& fill) {
  const Grammar::Rule rule = grammar_.add_rule();
  fill(grammar_.start(rule), grammar_.end(rule));
  grammar_.add_call(from, rule, to);
}

void JsonRules::string(State from, int64_t min, int64_t max, State to) {
  const auto fill = [&](State start, State end) { fill_string(start, min, max, end); };
  grammar_.add_call(from, rule(fmt::format("string {} {}", min, max), fill), to);
}

void JsonRules::string_with(State from, const Regex& regex, State to) {
  in_rule(from, to, [&](State start, State end) { fill_string_with(start, regex, end); });
}

void JsonRules::string_of(State from, const TextDfa& dfa, State to) {
  const State first = add_automaton(
      grammar_, dfa, [&](State a, const CodeSet& set, State b) { pattern_characters(a, set, b); },
      [&](State state) { grammar_.add_bytes(state, '"', '"', to); });
  grammar_.add_bytes(from, '"', '"', first);
}

void JsonRules::string_except(State from, std::span<const std::string> names, State to) {
  in_rule(from, to, [&](State start, State end) { fill_string_except(start, names, end); });
}

void JsonRules::fill_string(State from, int64_t min, int64_t max, State to) {
  State at = grammar_.add_state();
  grammar_.add_bytes(from, '"', '"', at);
  const auto one_more = [&] {
    const State next = grammar_.add_state();
    character(at, next);
    at = next;
  };
  for (int64_t i = 0; i < min; ++i) one_more();
  for (int64_t i = min; i < max; ++i) {
    grammar_.add_bytes(at, '"', '"', to);
    one_more();
  }
  if (max == kNoLimit) character(at, at);
  if (max == kNoLimit || max >= min) grammar_.add_bytes(at, '"', '"', to);
}

/// A set's characters inside a string: those that stand for themselves, and a rule of the others.
const JsonRules::InString& JsonRules::in_string(const CodeSet& set) {
  const auto [known, is_new] = in_string_.try_emplace(set);
  if (!is_new) return known->second;
  const CodeSet rest = set - string_characters();
  known->second.as_is = set & string_characters();
  if (rest.empty()) return known->second;
  const auto [escapes, is_new_rule] = escapes_.try_emplace(rest, -1);
  if (is_new_rule) {
    const Grammar::Rule rule = escapes->second = grammar_.add_rule();
    for (const auto& [first, last] : rest.ranges())
      for (uint32_t code = first; code <= last; ++code)
        grammar_.add_literal(grammar_.start(rule), escaped(code), grammar_.end(rule));
  }
  known->second.escapes = escapes->second;
  return known->second;
}

/// One of a set's characters inside a string, those that need it by their shortest escape.
void JsonRules::pattern_characters(State from, const CodeSet& set, State to) {
  const InString& ways = in_string(set);
  grammar_.add_characters(from, ways.as_is, to);
  if (ways.escapes >= 0) grammar_.add_call(from, ways.escapes, to);
}

void JsonRules::fill_string_with(State from, const Regex& regex, State to) {
  struct StringTarget {  // where a pattern's characters are those of a JSON string
    JsonRules& rules;
    State add_state() { return rules.grammar_.add_state(); }
    void add_empty(State a, State b) { rules.grammar_.add_empty(a, b); }
    void add_characters(State a, const CodeSet& set, State b) {
      rules.pattern_characters(a, set, b);
    }
  };
  const State begin = grammar_.add_state(), end = grammar_.add_state();
  grammar_.add_bytes(from, '"', '"', begin);
  StringTarget target{*this};
  add_search(target, regex, begin, end, [&](State a, State b) { character(a, b); });
  grammar_.add_bytes(end, '"', '"', to);
}

void JsonRules::fill_string_except(State from, std::span<const std::string> names, State to) {
  // Along the names as far as the text follows them, and free from where it leaves them all.
  struct Branch {
    State state;
    bool is_name = false;
    std::map<uint32_t, size_t> next = {};
  };
  static const CodeSet ascii = string_characters() & CodeSet({{0, 0x7f}});
  static const CodeSet wide = string_characters() - ascii;
  const State free = grammar_.add_state();
  std::vector<Branch> branches = {{grammar_.add_state()}};
  grammar_.add_bytes(from, '"', '"', branches[0].state);
  for (const std::string& name : names) {
    size_t at = 0;
    for (const uint32_t code : decode_utf8(name)) {
      const auto [next, is_new] = branches[at].next.try_emplace(code, branches.size());
      at = next->second;
      if (is_new) branches.push_back({grammar_.add_state()});
    }
    branches[at].is_name = true;
  }
  for (const Branch& branch : branches) {
    std::vector<CodeSet::Range> followed;
    for (const auto& [code, next] : branch.next) {
      followed.emplace_back(code, code);
      grammar_.add_characters(branch.state, CodeSet({{code, code}}) & string_characters(),
                              branches[next].state);
    }
    // Apart: what is not ASCII is often shared.
    const bool only_ascii = followed.empty() || followed.back().first < 0x80;
    const CodeSet follows(std::move(followed));
    grammar_.add_characters(branch.state, ascii - follows, free);
    grammar_.add_characters(branch.state, only_ascii ? wide : wide - follows, free);
    if (!branch.is_name) grammar_.add_bytes(branch.state, '"', '"', to);
  }
  grammar_.add_characters(free, string_characters(), free);
  grammar_.add_bytes(free, '"', '"', to);
}

/// One digit and up to `count` - 1 more.
void JsonRules::digits(State from, int count, State to) {
  for (int i = 0; i < count; ++i) {
    const State next = grammar_.add_state();
    grammar_.add_bytes(from, '0', '9', next);
    grammar_.add_empty(next, to);
    from = next;
  }
}

void JsonRules::number(State from, bool whole, State to) {
  const State unsigned_part = grammar_.add_state(), point = grammar_.add_state();
  const State first = grammar_.add_state();
  grammar_.add_empty(from, unsigned_part);
  grammar_.add_bytes(from, '-', '-', unsigned_part);
  grammar_.add_bytes(unsigned_part, '0', '0', point);
  grammar_.add_bytes(unsigned_part, '1', '9', first);
  grammar_.add_empty(first, point);
  digits(first, kWholeDigits - 1, point);
  grammar_.add_empty(point, to);
  if (whole) return;
  const State fraction = grammar_.add_state(), exponent = grammar_.add_state();
  const State sign = grammar_.add_state(), power = grammar_.add_state();
  grammar_.add_bytes(point, '.', '.', fraction);
  digits(fraction, kFractionDigits, exponent);
  grammar_.add_empty(point, exponent);
  grammar_.add_empty(exponent, to);
  for (const uint8_t e : {'e', 'E'}) grammar_.add_bytes(exponent, e, e, sign);
  grammar_.add_empty(sign, power);
  for (const uint8_t s : {'+', '-'}) grammar_.add_bytes(sign, s, s, power);
  digits(power, kExponentDigits, to);
}

void JsonRules::any_object(State from, State to) {
  const auto fill = [&](State start, State end) {
    const State open = grammar_.add_state(), key = grammar_.add_state();
    const State colon = grammar_.add_state(), before = grammar_.add_state();
    const State value = grammar_.add_state(), after = grammar_.add_state();
    const State comma = grammar_.add_state(), close = grammar_.add_state();
    grammar_.add_bytes(start, '{', '{', open);
    space(open, key);
    grammar_.add_bytes(open, '}', '}', end);
    string(key, 0, kNoLimit, colon);
    grammar_.add_bytes(colon, ':', ':', before);
    space(before, value);
    any_value(value, after);
    grammar_.add_bytes(after, ',', ',', comma);
    space(comma, key);
    space(after, close);
    grammar_.add_bytes(close, '}', '}', end);
  };
  grammar_.add_call(from, rule("object", fill), to);
}

void JsonRules::any_array(State from, State to) {
  const auto fill = [&](State start, State end) {
    const State open = grammar_.add_state(), value = grammar_.add_state();
    const State after = grammar_.add_state(), comma = grammar_.add_state();
    const State close = grammar_.add_state();
    grammar_.add_bytes(start, '[', '[', open);
    space(open, value);
    grammar_.add_bytes(open, ']', ']', end);
    any_value(value, after);
    grammar_.add_bytes(after, ',', ',', comma);
    space(comma, value);
    space(after, close);
    grammar_.add_bytes(close, ']', ']', end);
  };
  grammar_.add_call(from, rule("array", fill), to);
}

void JsonRules::text_of(State from, const TextDfa& dfa, State to) {
  add_texts(grammar_, dfa, from, to);
}

TextSets::Id JsonRules::texts_without(TextSets& sets, std::string_view stop) {
  const TextSets::Id shown = sets.repeat(sets.characters(shown_characters()), 0, TextSets::kOpen);
  const std::string_view mark = visible(stop);
  if (mark.empty()) return shown;
  const TextSets::Id within = sets.sequence(sets.all(), sets.sequence(sets.text(mark), sets.all()));
  return sets.both({shown, sets.negation(within)});
}

void JsonRules::text_without(State from, std::string_view stop, State to) {
  const std::vector<uint32_t> codes = decode_utf8(visible(stop));
  // State i: the text ends with the first i characters of `stop`.
  std::vector<State> states = {from};
  for (size_t i = 1; i < codes.size(); ++i) states.push_back(grammar_.add_state());
  const auto next = [&](size_t matched, uint32_t code) {
    std::vector<uint32_t> text(codes.begin(), codes.begin() + static_cast<ptrdiff_t>(matched));
    text.push_back(code);
    while (!text.empty() && !std::equal(text.begin(), text.end(), codes.begin()))
      text.erase(text.begin());
    return text.size();
  };
  for (size_t i = 0; i < states.size(); ++i) {
    std::vector<CodeSet::Range> apart;
    for (const uint32_t code : std::set<uint32_t>(codes.begin(), codes.end())) {
      apart.emplace_back(code, code);
      if (const size_t after = next(i, code); after < codes.size())
        grammar_.add_characters(states[i], CodeSet({{code, code}}), states[after]);
    }
    grammar_.add_characters(states[i], shown_characters() - CodeSet(apart), states[0]);
    grammar_.add_empty(states[i], to);
  }
}

void JsonRules::any_value(State from, State to) {
  const auto fill = [&](State start, State end) {
    for (const char* word : {"true", "false", "null"}) grammar_.add_literal(start, word, end);
    string(start, 0, kNoLimit, end);
    number(start, false, end);
    any_object(start, end);
    any_array(start, end);
  };
  grammar_.add_call(from, rule("value", fill), to);
}

}  // namespace um
