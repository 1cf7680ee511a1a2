// See schema.h.
#include "engine/grammar/schema.h"

#include <algorithm>

#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema_writer.h"

namespace um {
namespace {

using State = Grammar::State;

/// A text of a form.
void write_text(Grammar& grammar, JsonRules& rules, State from, std::string_view bytes, State to) {
  while (!bytes.empty()) {
    const bool space = bytes[0] == kFormSpace;
    const size_t end = space ? 1 : std::min(bytes.find(kFormSpace), bytes.size());
    const State next = grammar.add_state();
    if (space)
      rules.space(from, next);
    else
      rules.literal(from, bytes.substr(0, end), next);
    bytes.remove_prefix(end);
    from = next;
  }
  grammar.add_empty(from, to);
}

}  // namespace

Grammar form_grammar(const JsonForm& form) {
  Grammar grammar;
  JsonRules rules(grammar);
  SchemaWriter writer(grammar, rules);
  const Grammar::Rule whole = grammar.add_rule();
  const State begin = grammar.add_state(), end = grammar.add_state();
  const auto text = [&](State from, std::string_view bytes, State to) {
    write_text(grammar, rules, from, bytes, to);
  };
  text(grammar.start(whole), form.open, begin);
  for (const JsonForm::Piece& piece : form.pieces) {
    const State value = grammar.add_state(), after = grammar.add_state();
    text(begin, piece.before, value);
    writer.value(value, piece.schema, piece.name, after);
    text(after, piece.after, end);
  }
  if (form.repeat) text(end, form.between, begin);
  text(end, form.close, grammar.end(whole));
  writer.write_rules();
  grammar.finish(whole);
  return grammar;
}

Grammar schema_grammar(std::string_view schema) {
  return form_grammar({.pieces = {{std::string(1, kFormSpace), std::string(schema), {}}}});
}

}  // namespace um
