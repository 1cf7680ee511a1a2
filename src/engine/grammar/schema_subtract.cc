// Differences of schemas: a value is outside a cell if it breaks one of the cell's conditions, so
// the difference is a list of cells, one for each condition.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/stop_scope.h"
#include "engine/grammar/schema_algebra.h"

namespace um {

using Expr = SchemaExpr;
using Cell = SchemaCell;
using Cells = SchemaCells;

void SchemaAlgebra::keep(Cell cell, Cells& out) {
  if (!is_empty(cell)) out.push_back(std::move(cell));
}

namespace {

constexpr size_t kNameBytes = 256;  // of a NameRule, with its place in the index

[[noreturn]] void refuse_doubt(const std::string& path) {
  refuse_schema(path,
                "\"not\", \"oneOf\", \"if\" and the like need the exact opposite of this schema, "
                "of which a part (a format, uniqueItems, unevaluated...) can only be narrowed");
}

}  // namespace

Cells SchemaAlgebra::subtract(Cells from, Expr expr) {
  constexpr size_t kMaxPieces = 2000;
  const Cells& list = cells(expr);
  if (entries_[static_cast<size_t>(expr)].doubtful) refuse_doubt(path(expr));
  for (const Cell& cell : list) {
    Cells rest;
    for (const Cell& one : from)
      if (one.kind != cell.kind || apart(one, cell)) {
        rest.push_back(one);
      } else {
        if (cell.fewer) refuse_doubt(path(expr));
        for (Cell& piece : subtract(one, cell)) rest.push_back(std::move(piece));
      }
    if (rest.size() > kMaxPieces)
      refuse_schema(path(expr), "\"not\" or \"oneOf\" makes too many combinations of schemas");
    from = std::move(rest);
  }
  return from;
}

/// Whether it is certain that no value is in both.
bool SchemaAlgebra::apart(const Cell& a, const Cell& b) {
  const bool doubtful = std::exchange(doubtful_, false);
  const bool empty = is_empty(intersect(a, b));
  const bool certain = empty && !doubtful_;
  doubtful_ = doubtful;
  return certain;
}

Cells SchemaAlgebra::subtract(const Cell& from, const Cell& cell) {
  if (from.values) {
    Cell left = from;
    std::erase_if(*left.values, [&](const SchemaNode* value) { return contains(cell, *value); });
    return left.values->empty() ? Cells{} : Cells{std::move(left)};
  }
  Cells out;
  if (cell.values) {
    Cell left = from;
    for (const SchemaNode* value : *cell.values)
      if (contains(from, *value)) left.excluded.push_back(value);
    keep(std::move(left), out);
    return out;
  }
  if (!cell.excluded.empty()) {
    Cell listed{.kind = cell.kind, .spoken = from.spoken, .values = cell.excluded};
    keep(intersect(from, listed), out);
  }
  if (cell.min > 0) {
    Cell shorter = from;
    if (shorter.max == kNoLimit || shorter.max > cell.min - 1) shorter.max = cell.min - 1;
    keep(std::move(shorter), out);
  }
  if (cell.max != kNoLimit) {
    Cell longer = from;
    longer.min = std::max(longer.min, cell.max + 1);
    keep(std::move(longer), out);
  }
  subtract_strings(from, cell, out);
  subtract_numbers(from, cell, out);
  subtract_arrays(from, cell, out);
  subtract_objects(from, cell, out);
  return out;
}

void SchemaAlgebra::subtract_strings(const Cell& from, const Cell& cell, Cells& out) {
  for (const auto& pattern : cell.patterns) {
    if (std::find(from.patterns.begin(), from.patterns.end(), pattern) != from.patterns.end())
      continue;
    Cell other = from;
    other.patterns.emplace_back(pattern.first, !pattern.second);
    keep(std::move(other), out);
  }
}

void SchemaAlgebra::subtract_numbers(const Cell& from, const Cell& cell, Cells& out) {
  const auto keep_with = [&](const NumberSet& opposite) {
    Cell other = from;
    other.number.intersect(opposite);
    keep(std::move(other), out);
  };
  if (cell.number.whole) keep_with({.whole = !*cell.number.whole});
  for (NumberSet::Bound bound : cell.number.bounds) {
    bound.below = !bound.below;
    bound.equal = !bound.equal;
    bound.above = !bound.above;
    keep_with({.bounds = {bound}});
  }
  for (MultipleOf of : cell.number.multiples) {
    if (std::find(from.number.multiples.begin(), from.number.multiples.end(), of) !=
        from.number.multiples.end())
      continue;
    of.negated = !of.negated;
    keep_with({.multiples = {of}});
  }
}

void SchemaAlgebra::subtract_arrays(const Cell& from, const Cell& cell, Cells& out) {
  for (const ItemRule& rule : cell.items) {
    if (std::find(from.items.begin(), from.items.end(), rule) != from.items.end()) continue;
    for (size_t i = 0; i < rule.prefix.size(); ++i) {  // the item is there, and wrong
      Cell other = from;
      other.min = std::max(other.min, static_cast<int64_t>(i) + 1);
      ItemRule wrong;
      wrong.prefix.assign(i, kAnything);
      wrong.prefix.push_back(negation(rule.prefix[i]));
      other.items.push_back(std::move(wrong));
      keep(std::move(other), out);
    }
    if (rule.rest == kAnything) continue;
    Cell other = from;
    if (rule.rest == kNothing)
      other.min = std::max(other.min, static_cast<int64_t>(rule.prefix.size()) + 1);
    else
      other.contains.push_back({.expr = negation(rule.rest), .from = rule.prefix.size()});
    keep(std::move(other), out);
  }
  for (const ContainsRule& rule : cell.contains) {
    if (rule.min > 0) {
      Cell other = from;
      other.contains.push_back(
          {.expr = rule.expr, .min = 0, .max = rule.min - 1, .from = rule.from});
      keep(std::move(other), out);
    }
    if (rule.max == kNoLimit) continue;
    Cell other = from;
    other.contains.push_back({.expr = rule.expr, .min = rule.max + 1, .from = rule.from});
    keep(std::move(other), out);
  }
}

Cell SchemaAlgebra::with_property(Cell cell, const std::string& name, Expr expr, bool required) {
  count_memory(sizeof(NameRule) + kNameBytes);
  NameRule rule;
  rule.add(name, expr);
  cell.names.push_back(std::make_shared<const NameRule>(std::move(rule)));
  if (required &&
      std::find(cell.required.begin(), cell.required.end(), name) == cell.required.end())
    cell.required.push_back(name);
  return cell;
}

void SchemaAlgebra::subtract_objects(const Cell& from, const Cell& cell, Cells& out) {
  for (const std::string& name : cell.required) {
    if (std::find(from.required.begin(), from.required.end(), name) != from.required.end())
      continue;
    keep(with_property(from, name, kNothing, false), out);
  }
  for (const auto& rule : cell.names)
    if (std::find(from.names.begin(), from.names.end(), rule) == from.names.end())
      subtract_rule(from, rule, out);
  for (const Expr expr : cell.property_names) {
    if (std::find(from.property_names.begin(), from.property_names.end(), expr) !=
        from.property_names.end())
      continue;
    // A name that breaks it is a property that must not be there.
    NameRule rule;
    rule.patterns.emplace_back(pattern_of_names(expr), kAnything);
    rule.rest = kNothing;
    subtract_rule(from, std::make_shared<const NameRule>(std::move(rule)), out);
  }
  for (const auto& rule : cell.broken) {  // no property breaks it
    Cell other = from;
    other.names.push_back(rule);
    keep(std::move(other), out);
  }
}

/// Objects of `from` with a property that breaks the rule.
void SchemaAlgebra::subtract_rule(const Cell& from, const std::shared_ptr<const NameRule>& rule,
                                  Cells& out) {
  std::set<std::string> done;
  const auto split = [&](const std::string& name) {
    if (!done.insert(name).second) return;
    const Expr wrong = negation(property(*rule, name));
    if (wrong == kNothing || is_empty(both(property(from.names, name), wrong))) return;
    keep(with_property(from, name, wrong, true), out);
  };
  for (const auto& [name, expr] : rule->names) split(name);
  for (const auto& other : from.names)
    for (const auto& [name, expr] : other->names) split(name);
  for (const std::string& name : from.required) split(name);
  const bool free = rule->rest == kAnything &&
                    std::all_of(rule->patterns.begin(), rule->patterns.end(),
                                [](const auto& pattern) { return pattern.second == kAnything; });
  const bool closed = std::any_of(from.names.begin(), from.names.end(), [](const auto& other) {
    return other->rest == kNothing && other->patterns.empty();
  });
  if (free || closed) return;
  // One that none of the rules lists.
  count_memory(sizeof(NameRule) + (rule->names.size() + done.size()) * kNameBytes);
  Cell other = from;
  NameRule unlisted = *rule;
  for (const std::string& name : done)
    if (!unlisted.by_name.contains(name)) unlisted.add(name, kAnything);
  for (auto& [name, expr] : unlisted.names) expr = unlisted.by_name[name] = kAnything;
  other.broken.push_back(std::make_shared<const NameRule>(std::move(unlisted)));
  keep(std::move(other), out);
}

}  // namespace um
