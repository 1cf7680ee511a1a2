// See schema_writer.h.
#include "engine/grammar/schema_writer.h"

#include <algorithm>

#include "core/error.h"

namespace um {

using Node = SchemaNode;

namespace {

constexpr size_t kMaxTextStates = 20'000;

bool is_any_string(const SchemaCell* cell) {
  return !cell->values && cell->patterns.empty() && cell->excluded.empty() && cell->min == 0 &&
         cell->max == kNoLimit;
}

}  // namespace

SchemaExpr SchemaWriter::of_types(Expr schema, const char* types) {
  return algebra_.both(schema, read(fmt::format(R"({{"type": {}}})", types), {}));
}

void SchemaWriter::object(State from, Expr schema, State to) {
  const Expr objects = of_types(schema, R"("object")");
  if (algebra_.is_empty(objects)) refuse_schema(algebra_.path(schema), "it allows no object");
  call(from, objects, to);
}

std::vector<const SchemaCell*> SchemaWriter::string_cells(Expr expr) {
  std::vector<const Cell*> list = spoken_cells(expr);
  std::erase_if(list, [](const Cell* cell) { return cell->kind != Cell::kString; });
  return list;
}

void SchemaWriter::plain_texts(State from, Expr schema, std::string_view stop, State to) {
  const std::vector<const Cell*> cells = string_cells(schema);
  if (std::ranges::any_of(cells, is_any_string)) return rules_.text_without(from, stop, to);
  const TextSets::Id within = rules_.texts_without(algebra_.texts(), stop);
  for (const Cell* cell : cells) rules_.text_of(from, automaton(*cell, within, schema), to);
}

void SchemaWriter::other_values(State from, Expr schema, State to) {
  if (std::ranges::any_of(string_cells(schema), is_any_string)) return;
  const Expr others = of_types(schema, R"(["null", "boolean", "number", "array", "object"])");
  if (!algebra_.is_empty(others)) call(from, others, to);
}

void SchemaWriter::constants(State from, Expr schema, State to) {
  const std::pair<const char*, Node> all[] = {{"True", true}, {"False", false}, {"None", nullptr}};
  for (const auto& [text, value] : all)
    if (algebra_.accepts(schema, value)) grammar_.add_literal(from, text, to);
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
  if (!rule_of_text_.contains(set)) add_text(set, automaton(cell, algebra_.texts().all(), expr));
  grammar_.add_call(from, rule_of_text_.at(set), to);
}

/// The cell's strings that are in a set, too. Where patterns and a long maxLength together take too
/// many states, only shorter texts.
TextDfa SchemaWriter::automaton(const Cell& cell, TextSets::Id within, Expr expr) {
  std::optional<TextDfa> dfa = find_automaton(cell, within);
  if (!dfa) too_many_states(expr);
  return *std::move(dfa);
}

std::optional<TextDfa> SchemaWriter::find_automaton(const Cell& cell, TextSets::Id within) {
  constexpr int64_t kShorter = 64;
  constexpr size_t kShorterStates = 8'000;
  TextSets& texts = algebra_.texts();
  const auto made_of = [&](const Cell& one) {
    return texts.automaton(texts.both({algebra_.text_set(one), within}), kMaxTextStates);
  };
  if (cell.values) return made_of(cell);
  Cell shorter = cell, any = cell;
  any.min = 0, any.max = kNoLimit;
  std::optional<TextDfa> dfa = made_of(any);
  if (dfa) {
    const TextDfa few = reduced(*dfa);
    dfa = with_length(few, cell.min, cell.max, kMaxTextStates);
    shorter.max = std::max(kShorter, static_cast<int64_t>(kShorterStates / few.states()));
    if (!dfa && cell.min <= shorter.max)
      dfa = with_length(few, cell.min, shorter.max, kMaxTextStates);
    return dfa;
  }
  dfa = made_of(cell);  // where the length leaves few
  if (dfa || cell.max <= kShorter || cell.min > kShorter) return dfa;
  shorter.max = kShorter;
  return made_of(shorter);
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
  if (!rule_of_text_.contains(set)) {
    const auto dfa = algebra_.texts().automaton(set, kMaxTextStates);
    if (!dfa) too_many_states(expr);
    add_text(set, *dfa);
  }
  grammar_.add_call(from, rule_of_text_.at(set), to);
}

void SchemaWriter::add_text(TextSets::Id set, const TextDfa& dfa) {
  const Grammar::Rule rule = rule_of_text_[set] = grammar_.add_rule();
  rules_.string_of(grammar_.start(rule), dfa, grammar_.end(rule));
}

void SchemaWriter::too_many_states(Expr expr) {
  refuse_schema(algebra_.path(expr),
                fmt::format("its strings (pattern, format, length, not) need more than {} states",
                            kMaxTextStates));
}

}  // namespace um
