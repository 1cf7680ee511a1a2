// ConstraintFactory: makes the Constraints of requests (JSON, a JSON schema, a regular expression,
// a choice) for one tokenizer. One per model; see docs/constraints.md.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/gate.h"
#include "engine/constraint.h"
#include "text/tokenizer.h"

namespace um {

class Grammar;
class TokenTrie;
struct JsonForm;

/// All methods may be called from several threads. What they return is for one request: take a
/// clone() for each further one. The factory keeps what it has compiled lately, with the token
/// masks found since, so that a schema that comes again is ready at once. Errors are UsageErrors,
/// with the place in the schema or pattern and what is not supported.
class ConstraintFactory {
 public:
  /// `eos`: the tokens that end an answer, at least one. They are allowed exactly when the text is
  /// complete; other special tokens never, but for `marks`, where a JsonForm demands them.
  ConstraintFactory(const Tokenizer& tokenizer, std::vector<int32_t> eos,
                    const std::vector<int32_t>& marks = {});
  /// For the same tokenizer as `other`, whose sorted vocabulary it shares.
  ConstraintFactory(const ConstraintFactory& other, std::vector<int32_t> eos);
  /// The same from the bytes of each token, by id; empty: never allowed.
  ConstraintFactory(std::vector<std::string> token_bytes, std::vector<int32_t> eos);

  /// Any JSON object.
  std::unique_ptr<Constraint> json_object();
  /// JSON that meets the schema. Give the text as it came: the order of properties counts.
  std::unique_ptr<Constraint> json_schema(std::string_view schema);
  /// JSON with fixed text around it (engine/grammar/schema.h).
  std::unique_ptr<Constraint> json_form(const JsonForm& form);
  /// A text that the pattern matches from end to end.
  std::unique_ptr<Constraint> regex(std::string_view pattern);
  /// One of the texts, none of them empty, in UTF-8.
  std::unique_ptr<Constraint> choice(std::span<const std::string> texts);

  /// What compiles goes through it, of all factories: as many at once as the machine has threads.
  static Gate& compile_gate();

 private:
  struct Entry;
  std::unique_ptr<Constraint> make(std::string key, const std::function<Grammar()>& compile);

  std::shared_ptr<const TokenTrie> trie_;
  std::shared_ptr<const std::vector<int32_t>> eos_;
  std::mutex mutex_;
  std::list<std::shared_ptr<Entry>> recent_;  // the latest first

  friend class GrammarConstraint;
};

/// Lets everything pass until `close` (the token that ends the thinking part) has come, then obeys
/// `constraint`. `open`: whether the thinking part is open at the start; if not, `close` has no
/// meaning and this is `constraint` itself.
std::unique_ptr<Constraint> after_thinking(std::unique_ptr<Constraint> constraint, int32_t close,
                                           bool open = true);

}  // namespace um
