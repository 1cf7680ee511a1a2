// SchemaWriter: schemas in their normal form as rules of a Grammar.
#pragma once

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/grammar/grammar.h"
#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema_algebra.h"

namespace um {

class SchemaWriter {
 public:
  using State = Grammar::State;
  using Expr = SchemaExpr;
  using Cell = SchemaCell;

  SchemaWriter(Grammar& grammar, JsonRules& rules) : grammar_(grammar), rules_(rules) {}

  /// The schema with that text; `name` stands in errors.
  Expr read(std::string_view schema, const std::string& name) {
    return algebra_.read(schema, name);
  }
  /// A value of the schema, by a rule that write_rules() fills.
  void value(State from, Expr schema, State to) { call(from, schema, to); }
  /// The same of its objects alone. Throws UsageError if it has none.
  void object(State from, Expr schema, State to);
  /// Its texts without quotes and escapes, in which the visible part of `stop` does not stand.
  void plain_texts(State from, Expr schema, std::string_view stop, State to);
  /// What is no text, where its texts are not just any.
  void other_values(State from, Expr schema, State to);
  /// True, False and None, where it has the value.
  void constants(State from, Expr schema, State to);
  void write_rules();

 private:
  /// Its values of some types: a "type" of JSON Schema.
  Expr of_types(Expr schema, const char* types);
  std::vector<const Cell*> string_cells(Expr expr);
  void call(State from, Expr expr, State to);
  void cell(const Cell& cell, Expr expr, State from, State to);
  std::vector<const Cell*> spoken_cells(Expr expr);
  void values(const std::vector<const SchemaNode*>& list, State from, State to);
  void one_value(const SchemaNode& value, State from, State to);
  void number(const Cell& cell, Expr expr, State from, State to);
  void string(const Cell& cell, Expr expr, State from, State to);
  void pattern(PatternId id, State from, State to);
  void text(TextSets::Id set, Expr expr, State from, State to);
  void add_text(TextSets::Id set, const TextDfa& dfa);
  [[noreturn]] void too_many_states(Expr expr);
  TextDfa automaton(const Cell& cell, TextSets::Id within, Expr expr);
  std::optional<TextDfa> find_automaton(const Cell& cell, TextSets::Id within);
  // schema_arrays.cc
  friend class ArrayWriter;
  void array(const Cell& cell, Expr expr, State from, State to);
  bool listed_values(Expr expr, std::vector<const SchemaNode*>& list);
  // schema_objects.cc
  friend class ObjectWriter;
  void object(const Cell& cell, Expr expr, State from, State to);

  Grammar& grammar_;
  JsonRules& rules_;
  SchemaAlgebra algebra_;
  std::unordered_map<Expr, Grammar::Rule> rule_of_;
  std::unordered_map<PatternId, Grammar::Rule> rule_of_pattern_;
  std::unordered_map<TextSets::Id, Grammar::Rule> rule_of_text_;
  std::deque<Expr> open_;
};

}  // namespace um
