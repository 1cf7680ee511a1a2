// TextSets: sets of texts over Unicode characters as terms (characters, sequence, union,
// intersection, complement, repeat), equal terms stored once. A term becomes a deterministic
// automaton by Brzozowski's derivatives (1964): what must follow when a character has been read is
// a term again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/grammar/code_set.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/text_dfa.h"

namespace um {

class TextSets {
 public:
  using Id = int32_t;
  static constexpr int kOpen = -1;

  TextSets();

  Id none() const { return 0; }   ///< no text
  Id empty() const { return 1; }  ///< the empty text
  Id all() const { return all_; }
  Id characters(const CodeSet& set);
  Id sequence(Id first, Id second);
  Id either(std::vector<Id> parts);
  Id both(std::vector<Id> parts);
  Id negation(Id part);
  Id repeat(Id part, int min, int max);
  Id text(std::string_view utf8);
  Id length(int64_t min, int64_t max);
  /// The texts in which the expression is found. Throws UsageError `WHERE: ...` where it repeats an
  /// assertion, which is not supported.
  Id search(const Regex& regex, std::string_view where);
  /// The texts that are all of a match.
  Id match(const Regex& regex, std::string_view where);

  bool contains(Id id, std::string_view utf8);
  /// Nothing if the automaton would have more than `limit` states.
  std::optional<TextDfa> automaton(Id id, size_t limit);
  /// Whether it is certain, with so many states looked at, that no text is in the set.
  bool is_empty(Id id, size_t limit = 300);

 private:
  enum class Kind : uint8_t {
    kNone,
    kEmpty,
    kCharacters,
    kSequence,
    kEither,
    kBoth,
    kNot,
    kRepeat
  };
  struct Term {
    Kind kind;
    std::vector<Id> parts = {};
    CodeSet set = {};
    int min = 0, max = 0;
    auto operator<=>(const Term&) const = default;  // NOLINT(modernize-use-nullptr): not one
  };
  struct Derived {
    uint32_t code;
    Id to;
  };
  struct Alphabet {
    std::vector<CodeSet> classes;          // characters that the term does not tell apart
    std::vector<uint32_t> representative;  // one of each
  };

  Id add(Term term);
  const Term& at(Id id) const { return terms_[static_cast<size_t>(id)]; }
  bool nullable(Id id) const { return nullable_[static_cast<size_t>(id)]; }
  bool find_nullable(const Term& term) const;
  void flatten(Kind kind, std::vector<Id>& parts) const;
  Id derive(Id id, uint32_t code);
  Id derive_term(const Term& term, uint32_t code);
  void collect(Id id, std::vector<CodeSet>& sets, std::vector<bool>& seen) const;
  Alphabet alphabet(Id id) const;

  std::vector<Term> terms_;
  std::vector<bool> nullable_;
  std::map<Term, Id> known_;
  std::vector<std::vector<Derived>> derived_;  // by term, in order of the characters
  Id any_ = 0, all_ = 0;

  friend class AssertionWriter;
};

}  // namespace um
