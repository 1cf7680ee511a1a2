// See schema_writer.h.
#include "engine/grammar/schema_writer.h"

#include <algorithm>

#include "core/error.h"

namespace um {

using Node = SchemaNode;

namespace {

constexpr size_t kMaxTextStates = 20'000;

}  // namespace

void SchemaWriter::object_value(State from, std::string_view schema, const std::string& name,
                                State to) {
  const Expr all = algebra_.read(schema, name);
  const Expr objects = algebra_.both(all, algebra_.read(R"({"type": "object"})", name));
  if (algebra_.is_empty(objects)) refuse_schema(algebra_.path(all), "it allows no object");
  call(from, objects, to);
}

void SchemaWriter::call(State from, Expr expr, State to) {
  if (expr == kNothing) return;
  if (expr == kAnything) return rules_.any_value(from, to);
  const auto [at, is_new] = rule_of_.try_emplace(expr, -1);
  if (is_new) {
    at->second = grammar_.add_rule();
    open_.push_back(expr);
  }
  grammar_.add_call(from, at->second, to);
}

void SchemaWriter::write_rules() {
  while (!open_.empty()) {  // a list and no recursion: references may chain for long
    const Expr expr = open_.front();
    open_.pop_front();
    const Grammar::Rule rule = rule_of_.at(expr);
    for (const Cell* one : spoken_cells(expr))
      cell(*one, expr, grammar_.start(rule), grammar_.end(rule));
  }
}

/// The cells of the types that the schema speaks of, if it speaks of any: one with "properties"
/// alone is meant to be an object.
std::vector<const SchemaCell*> SchemaWriter::spoken_cells(Expr expr) {
  const SchemaCells& cells = algebra_.cells(expr);
  const bool speaks = std::any_of(cells.begin(), cells.end(),
                                  [](const Cell& one) { return one.spoken == Cell::kSaid; });
  std::vector<const Cell*> list;
  for (const Cell& one : cells)
    if (!speaks || one.spoken != Cell::kPasses) list.push_back(&one);
  return list;
}

void SchemaWriter::cell(const Cell& cell, Expr expr, State from, State to) {
  if (cell.values) return values(*cell.values, from, to);
  switch (cell.kind) {
    case Cell::kNumber:
      return number(cell, expr, from, to);
    case Cell::kString:
      return string(cell, expr, from, to);
    case Cell::kArray:
      return array(cell, expr, from, to);
    case Cell::kObject:
      return object(cell, expr, from, to);
    default:
      break;
  }
}

void SchemaWriter::values(const std::vector<const Node*>& list, State from, State to) {
  std::vector<std::string> texts;
  for (const Node* value : list) {
    if (value->is_structured() && !value->empty())
      one_value(*value, from, to);
    else
      texts.push_back(value->dump());
  }
  grammar_.add_literals(from, texts, to);
}

/// A list or an object with white space between its parts.
void SchemaWriter::one_value(const Node& value, State from, State to) {
  if (!value.is_structured() || value.empty()) {
    grammar_.add_literal(from, value.dump(), to);
    return;
  }
  const bool is_object = value.is_object();
  State at = grammar_.add_state();
  grammar_.add_literal(from, is_object ? "{" : "[", at);
  const auto spaced = [&](State begin) {
    const State end = grammar_.add_state();
    rules_.space(begin, end);
    return end;
  };
  at = spaced(at);
  size_t left = value.size();
  for (const auto& [name, member] : value.items()) {
    if (is_object) {
      const State colon = grammar_.add_state();
      grammar_.add_literal(at, Node(name).dump() + ":", colon);
      at = spaced(colon);
    }
    const State after = grammar_.add_state(), next = grammar_.add_state();
    one_value(member, at, after);
    if (--left == 0) {
      at = spaced(after);
      break;
    }
    grammar_.add_literal(after, ",", next);
    at = spaced(next);
  }
  grammar_.add_literal(at, is_object ? "}" : "]", to);
}

void SchemaWriter::number(const Cell& cell, Expr expr, State from, State to) {
  NumberSet set = cell.number;
  for (const Node* value : cell.excluded)
    if (const auto number = Decimal::parse(value->dump()))
      set.bounds.push_back({*number, true, false, true});
  if (set.bounds.empty() && set.multiples.empty() && set.whole.value_or(true))
    return rules_.number(from, set.whole.value_or(false), to);
  const JsonRules::NumbersWritten written = rules_.number_in(from, set, to);
  if (written == JsonRules::kTooManyStates)
    refuse_schema(algebra_.path(expr),
                  "its numbers need too many states; use a simpler \"multipleOf\"");
  if (written == JsonRules::kNoNumber)
    grammar_.note_missing(
        fmt::format("schema {}: no number of at most 18 digits before the point and 17 behind it "
                    "(15 in all beside \"multipleOf\") is in it",
                    algebra_.path(expr)));
}

void SchemaWriter::string(const Cell& cell, Expr expr, State from, State to) {
  const bool free = cell.min == 0 && cell.max == kNoLimit && cell.excluded.empty();
  if (cell.patterns.empty() && cell.excluded.empty())
    return rules_.string(from, cell.min, cell.max, to);
  if (free && cell.patterns.size() == 1 && cell.patterns[0].second) {
    const PatternId id = cell.patterns[0].first;
    if (algebra_.pattern(id).regex.plain) return pattern(id, from, to);
  }
  const TextSets::Id set = algebra_.text_set(cell);
  if (!rule_of_text_.contains(set)) add_text(set, automaton(cell), expr);
  grammar_.add_call(from, rule_of_text_.at(set), to);
}

/// Where its patterns and a long maxLength together take too many states, only shorter texts.
std::optional<TextDfa> SchemaWriter::automaton(const Cell& cell) {
  constexpr int64_t kShorter = 64;
  constexpr size_t kShorterStates = 8'000;
  TextSets& texts = algebra_.texts();
  Cell shorter = cell, any = cell;
  any.min = 0, any.max = kNoLimit;
  std::optional<TextDfa> dfa = texts.automaton(algebra_.text_set(any), kMaxTextStates);
  if (dfa) {
    const TextDfa few = reduced(*dfa);
    dfa = with_length(few, cell.min, cell.max, kMaxTextStates);
    shorter.max = std::max(kShorter, static_cast<int64_t>(kShorterStates / few.states()));
    if (!dfa && cell.min <= shorter.max)
      dfa = with_length(few, cell.min, shorter.max, kMaxTextStates);
    return dfa;
  }
  dfa = texts.automaton(algebra_.text_set(cell), kMaxTextStates);  // where the length leaves few
  if (dfa || cell.max <= kShorter || cell.min > kShorter) return dfa;
  shorter.max = kShorter;
  return texts.automaton(algebra_.text_set(shorter), kMaxTextStates);
}

/// By a rule that all strings of that pattern share.
void SchemaWriter::pattern(PatternId id, State from, State to) {
  const auto [at, is_new] = rule_of_pattern_.try_emplace(id, -1);
  if (is_new) {
    at->second = grammar_.add_rule();
    rules_.string_with(grammar_.start(at->second), algebra_.pattern(id).regex,
                       grammar_.end(at->second));
  }
  grammar_.add_call(from, at->second, to);
}

void SchemaWriter::text(TextSets::Id set, Expr expr, State from, State to) {
  if (!rule_of_text_.contains(set))
    add_text(set, algebra_.texts().automaton(set, kMaxTextStates), expr);
  grammar_.add_call(from, rule_of_text_.at(set), to);
}

void SchemaWriter::add_text(TextSets::Id set, const std::optional<TextDfa>& dfa, Expr expr) {
  if (!dfa)
    refuse_schema(algebra_.path(expr),
                  fmt::format("its strings (pattern, format, length, not) need more than {} states",
                              kMaxTextStates));
  const Grammar::Rule rule = rule_of_text_[set] = grammar_.add_rule();
  rules_.string_of(grammar_.start(rule), *dfa, grammar_.end(rule));
}

}  // namespace um
