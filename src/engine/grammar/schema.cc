// See schema.h.
#include "engine/grammar/schema.h"

#include <algorithm>

#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema_writer.h"

namespace um {
namespace {

using State = Grammar::State;

/// Writes the parts of a form into a grammar, one behind the other.
class FormWriter {
 public:
  explicit FormWriter(Grammar& grammar)
      : grammar_(grammar), rules_(grammar), schemas_(grammar, rules_) {}

  void text(State from, std::string_view bytes, State to) {
    constexpr char kSpecial[] = {kFormSpace, kFormId, '\0'};
    while (!bytes.empty()) {
      const size_t plain = std::min(bytes.find_first_of(kSpecial), bytes.size());
      const size_t end = std::max<size_t>(plain, 1);
      const State next = grammar_.add_state();
      if (plain > 0)
        rules_.literal(from, bytes.substr(0, end), next);
      else if (bytes[0] == kFormSpace)
        rules_.space(from, next);
      else
        id(from, next);
      bytes.remove_prefix(end);
      from = next;
    }
    grammar_.add_empty(from, to);
  }

  void piece(State from, const JsonForm::Piece& piece, State to) {
    State at = grammar_.add_state();
    text(from, piece.before, at);
    if (!piece.many_values) at = value(at, piece);
    if (piece.separator.empty())
      for (const JsonForm::Value& each : piece.values) at = value(at, each);
    else
      at = separated(at, piece);
    if (!piece.extra.empty()) {
      const State behind = grammar_.add_state();
      text(at, piece.extra, behind);
      grammar_.add_empty(at, behind);
      at = behind;
    }
    text(at, piece.after, to);
  }

  void finish() { schemas_.write_rules(); }

 private:
  void id(State from, State to) {
    constexpr int kLongest = 64;
    for (int i = 0; i < kLongest; ++i) {
      const State next = grammar_.add_state();
      for (const char* range : {"az", "AZ", "09", "--", "__", "..", "::"})
        grammar_.add_bytes(from, static_cast<uint8_t>(range[0]), static_cast<uint8_t>(range[1]),
                           next);
      grammar_.add_empty(next, to);
      from = next;
    }
  }

  /// Each gives the state behind the value.
  State value(State from, const JsonForm::Piece& piece) {
    const State after = grammar_.add_state();
    const SchemaExpr schema = schemas_.read(piece.schema, piece.name);
    if (piece.object)
      schemas_.object(from, schema, after);
    else
      schemas_.value(from, schema, after);
    return after;
  }

  State value(State from, const JsonForm::Value& value) {
    const State begin = grammar_.add_state(), end = grammar_.add_state();
    text(from, value.before, begin);
    const State after = grammar_.add_state();
    const SchemaExpr schema = schemas_.read(value.schema, value.name);
    const bool json = value.texts == JsonForm::Value::kJson;
    if (json) schemas_.value(begin, schema, after);
    if (!json) schemas_.plain_texts(begin, schema, value.after, after);
    if (value.texts == JsonForm::Value::kPlain) schemas_.other_values(begin, schema, after);
    if (value.constants) schemas_.constants(begin, schema, after);
    text(after, value.after, end);
    if (!value.required) grammar_.add_empty(from, end);
    return end;
  }

  /// Values with a separator in front of all but the first that is written.
  State separated(State none, const JsonForm::Piece& piece) {
    State some = grammar_.add_state();
    for (const JsonForm::Value& each : piece.values) {
      const State begin = grammar_.add_state();
      grammar_.add_empty(none, begin);
      text(some, piece.separator, begin);
      JsonForm::Value one = each;
      one.required = true;
      const State written = value(begin, one), next = grammar_.add_state();
      const State still_none = grammar_.add_state();
      grammar_.add_empty(written, next);
      if (!each.required) {
        grammar_.add_empty(some, next);
        grammar_.add_empty(none, still_none);
      }
      some = next, none = still_none;
    }
    const State end = grammar_.add_state();
    grammar_.add_empty(none, end);
    grammar_.add_empty(some, end);
    return end;
  }

  Grammar& grammar_;
  JsonRules rules_;
  SchemaWriter schemas_;
};

}  // namespace

Grammar form_grammar(const JsonForm& form) {
  Grammar grammar;
  FormWriter writer(grammar);
  const Grammar::Rule whole = grammar.add_rule();
  const State begin = grammar.add_state(), end = grammar.add_state();
  writer.text(grammar.start(whole), form.open, begin);
  for (const JsonForm::Piece& piece : form.pieces) writer.piece(begin, piece, end);
  if (form.repeat) writer.text(end, form.between, begin);
  writer.text(end, form.close, grammar.end(whole));
  writer.finish();
  grammar.finish(whole);
  return grammar;
}

Grammar schema_grammar(std::string_view schema) {
  return form_grammar({.pieces = {{std::string(1, kFormSpace), std::string(schema), {}}}});
}

}  // namespace um
