// JsonRules: the pieces of JSON texts as parts of a Grammar. Every method adds ways from one state
// to another. White space and digits are bounded, so that a model cannot write them for ever.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "engine/grammar/grammar.h"
#include "engine/grammar/number_set.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/text_set.h"

namespace um {

/// The text of the expression itself: `regex`, which is plain, matches all of it.
void add_regex(Grammar& grammar, const Regex& regex, Grammar::State from, Grammar::State to);

/// The same for any expression; throws UsageError `WHERE: ...` if it takes too many states.
void add_match(Grammar& grammar, const Regex& regex, std::string_view where, Grammar::State from,
               Grammar::State to);

class JsonRules {
 public:
  using State = Grammar::State;
  static constexpr int64_t kNoLimit = -1;

  explicit JsonRules(Grammar& grammar) : grammar_(grammar) {}

  /// Nothing, one space, or a newline and up to 40 spaces or 10 tabs.
  void space(State from, State to);
  void literal(State from, std::string_view text, State to) {
    grammar_.add_literal(from, text, to);
  }

  /// Any text, without quotes, in which the visible part of `stop` does not stand.
  void text_without(State from, std::string_view stop, State to);
  /// The same as a set.
  static TextSets::Id texts_without(TextSets& sets, std::string_view stop);
  /// The automaton's texts, without quotes.
  void text_of(State from, const TextDfa& dfa, State to);

  void any_value(State from, State to);
  void any_object(State from, State to);
  void any_array(State from, State to);
  /// A string of `min` to `max` characters (kNoLimit: any number).
  void string(State from, int64_t min, int64_t max, State to);
  /// A string in which the expression, which is plain, is found (as JSON Schema has it: anchored
  /// only by ^ and $).
  void string_with(State from, const Regex& regex, State to);
  /// A string whose characters the automaton accepts.
  void string_of(State from, const TextDfa& dfa, State to);
  /// A string that is none of `names`; written without escapes.
  void string_except(State from, std::span<const std::string> names, State to);
  /// At most 18 digits before the point, 15 behind it and 2 in the exponent. `whole`: only whole
  /// numbers, without point and exponent.
  void number(State from, bool whole, State to);
  enum NumbersWritten : uint8_t { kSomeNumbers, kNoNumber, kTooManyStates };
  /// Numbers of the set without exponent that are in the set as doubles too.
  NumbersWritten number_in(State from, const NumberSet& set, State to);

 private:
  struct InString {
    CodeSet as_is = {};
    Grammar::Rule escapes = -1;
  };
  Grammar::Rule rule(const std::string& name, const std::function<void(State, State)>& fill);
  void in_rule(State from, State to, const std::function<void(State, State)>& fill);
  void fill_string(State from, int64_t min, int64_t max, State to);
  void fill_string_with(State from, const Regex& regex, State to);
  void fill_string_except(State from, std::span<const std::string> names, State to);
  void character(State from, State to);
  void escape(State from, State to);
  void digits(State from, int count, State to);
  const InString& in_string(const CodeSet& set);
  void pattern_characters(State from, const CodeSet& set, State to);

  Grammar& grammar_;
  std::map<std::string, Grammar::Rule> rules_;
  std::map<CodeSet, Grammar::Rule> escapes_;
  std::map<CodeSet, InString> in_string_;
};

}  // namespace um
