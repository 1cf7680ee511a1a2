// See schema_algebra.h.
#include "engine/grammar/schema_algebra.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/keyed_hash.h"
#include "core/stop_scope.h"
#include "engine/grammar/code_set.h"

namespace um {
namespace {

using Node = SchemaNode;
using Expr = SchemaExpr;
using Cell = SchemaCell;
using Cells = SchemaCells;

constexpr size_t kMaxExprs = 200'000;
constexpr size_t kMaxCells = 2000;  // of one normal form
constexpr int kMaxDepth = 6;        // to which emptiness is looked for

template <class T>
void add_new(std::vector<T>& list, const std::vector<T>& more) {
  check_stop(list.size() * more.size() / kNamesPerStep);
  for (const T& one : more)
    if (std::find(list.begin(), list.end(), one) == list.end()) list.push_back(one);
}

void add_new(std::vector<std::string>& list, const std::vector<std::string>& more) {
  if (more.empty()) return;
  NameSet known(list.begin(), list.end());
  for (const std::string& one : more)
    if (known.insert(one).second) list.push_back(one);
}

/// A schema is asked for while it is found.
struct Unfinished {};

/// Steps that a copy takes.
size_t weight(const Cell& cell) {
  const size_t parts = cell.names.size() + cell.required.size() + cell.broken.size() +
                       cell.patterns.size() + cell.excluded.size() + cell.items.size() +
                       cell.contains.size() + cell.property_names.size() +
                       (cell.values ? cell.values->size() : 0) + cell.number.bounds.size() +
                       cell.number.multiples.size();
  size_t prefix = 0;
  for (const ItemRule& rule : cell.items) prefix += rule.prefix.size();
  return 4 + prefix / kNamesPerStep + parts / 2 + cell.evaluated.names.size() +
         cell.evaluated.patterns.size() + cell.evaluated.contained.size();
}

/// Bytes that it takes; what it shares with others is counted where it is made.
size_t memory_of(const Cell& cell) {
  constexpr size_t kPart = 24, kNode = 96;  // of a list; of a set, with a name
  const size_t parts = weight(cell) * 2;
  const size_t nodes = cell.evaluated.names.size() + cell.evaluated.patterns.size();
  return sizeof(Cell) + parts * kPart + nodes * kNode;
}

int64_t smaller_limit(int64_t a, int64_t b) {
  return a == kNoLimit ? b : b == kNoLimit ? a : std::min(a, b);
}

}  // namespace

bool equal_values(const Node& a, const Node& b) {
  check_stop();
  if (a.is_array() && b.is_array())
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal_values);
  if (!a.is_object() || !b.is_object()) {
    if (!a.is_number() || !b.is_number()) return a == b;
    if (a.get<double>() != b.get<double>()) return false;
    if (a.is_number_integer() && b.is_number_integer()) return a == b;
    const auto x = Decimal::parse(a.dump()), y = Decimal::parse(b.dump());
    return x && y ? compare(*x, *y) == 0 : a == b;
  }
  if (a.size() != b.size()) return false;
  check_stop(a.size() * a.size() / kNamesPerStep);
  return std::all_of(a.items().begin(), a.items().end(), [&](const auto& item) {
    const auto other = b.find(item.key());
    return other != b.end() && equal_values(item.value(), *other);
  });
}

Cell::Kind kind_of(const Node& value) {
  if (value.is_null()) return Cell::kNull;
  if (value.is_boolean()) return Cell::kBoolean;
  if (value.is_number()) return Cell::kNumber;
  if (value.is_string()) return Cell::kString;
  return value.is_array() ? Cell::kArray : Cell::kObject;
}

size_t count_characters(std::string_view utf8) {
  return static_cast<size_t>(std::count_if(
      utf8.begin(), utf8.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

SchemaAlgebra::SchemaAlgebra() {
  add({.kind = Entry::kAll});
  add({.kind = Entry::kNone});
}

Expr SchemaAlgebra::add(Entry entry) {
  if (entries_.size() >= kMaxExprs) throw UsageError("schema: too many combinations of schemas");
  count_memory(2 * (sizeof(Entry) + entry.parts.size() * sizeof(Expr)));  // with an index
  entries_.push_back(std::move(entry));
  return static_cast<Expr>(entries_.size() - 1);
}

void SchemaAlgebra::work(size_t amount) {
  check_stop(amount);
}

Expr SchemaAlgebra::both(Expr a, Expr b) {
  if (a == kAnything || a == b) return b;
  if (b == kAnything) return a;
  if (a == kNothing || b == kNothing) return kNothing;
  std::vector<Expr> parts;
  for (const Expr expr : {a, b}) {
    const Entry& entry = entries_[static_cast<size_t>(expr)];
    const std::vector<Expr> more = entry.kind == Entry::kBoth ? entry.parts : std::vector{expr};
    if (parts.empty())
      parts = more;
    else
      add_new(parts, more);
  }
  for (const Expr part : parts) {
    const Entry& entry = entries_[static_cast<size_t>(part)];
    if (entry.kind == Entry::kNot) work(parts.size() / kNamesPerStep);
    if (entry.kind == Entry::kNot &&
        std::find(parts.begin(), parts.end(), entry.parts[0]) != parts.end())
      return kNothing;
  }
  if (parts.size() == 1) return parts[0];
  work(1 + parts.size() / 4);
  const auto [at, is_new] = by_parts_.try_emplace(parts, -1);
  if (is_new) at->second = add({.kind = Entry::kBoth, .parts = parts});
  return at->second;
}

Expr SchemaAlgebra::negation(Expr a) {
  if (a == kAnything) return kNothing;
  if (a == kNothing) return kAnything;
  const Entry& entry = entries_[static_cast<size_t>(a)];
  if (entry.kind == Entry::kNot) return entry.parts[0];
  const auto [at, is_new] = by_negated_.try_emplace(a, -1);
  if (is_new) at->second = add({.kind = Entry::kNot, .parts = {a}});
  return at->second;
}

Expr SchemaAlgebra::either(std::vector<Expr> parts) {
  std::erase(parts, kNothing);
  if (parts.empty()) return kNothing;
  if (parts.size() == 1) return parts[0];
  if (std::find(parts.begin(), parts.end(), kAnything) != parts.end()) return kAnything;
  return add({.kind = Entry::kEither, .parts = std::move(parts)});
}

const std::string& SchemaAlgebra::path(Expr expr) const {
  static const std::string none = "#";
  const Entry& entry = entries_[static_cast<size_t>(expr)];
  if (!entry.place.path.empty()) return entry.place.path;
  return entry.parts.empty() ? none : path(entry.parts[0]);
}

const Cells& SchemaAlgebra::cells(Expr expr) {
  Entry& entry = entries_[static_cast<size_t>(expr)];  // a deque: it stays where it is
  if (entry.cells) {
    doubtful_ = doubtful_ || entry.doubtful;
    return *entry.cells;
  }
  if (entry.open && probing_ > 0) throw Unfinished{};
  if (entry.open)
    refuse_schema(path(expr), "the schema refers to itself without anything in between");
  entry.open = true;
  const bool doubtful = std::exchange(doubtful_, false);
  Cells made;
  try {
    made = find_cells(expr);
  } catch (const Unfinished&) {
    entry.open = false;
    throw;
  }
  entry.open = false;
  entry.doubtful = doubtful_;
  doubtful_ = doubtful_ || doubtful;
  if (made.size() > kMaxCells)
    refuse_schema(path(expr), fmt::format("more than {} combinations of schemas", kMaxCells));
  for (const Cell& cell : made) count_memory(memory_of(cell));
  entry.cells = std::move(made);
  return *entry.cells;
}

Cells SchemaAlgebra::everything() {
  static const Node no = nullptr, yes = true, wrong = false;
  Cells all(Cell::kKinds);
  for (int kind = 0; kind < Cell::kKinds; ++kind)
    all[static_cast<size_t>(kind)].kind = static_cast<Cell::Kind>(kind);
  all[Cell::kNull].values = {&no};
  all[Cell::kBoolean].values = {&yes, &wrong};
  return all;
}

Cell SchemaAlgebra::intersect(const Cell& a, const Cell& b) {
  work(weight(a) + weight(b));
  Cell made = a;
  made.spoken = a.spoken == Cell::kOpen   ? b.spoken
                : b.spoken == Cell::kOpen ? a.spoken
                                          : std::max(a.spoken, b.spoken);
  made.fewer = a.fewer || b.fewer;
  made.evaluated.all_items |= b.evaluated.all_items;
  made.evaluated.all_names |= b.evaluated.all_names;
  made.evaluated.items = std::max(a.evaluated.items, b.evaluated.items);
  add_new(made.evaluated.contained, b.evaluated.contained);
  made.evaluated.names.insert(b.evaluated.names.begin(), b.evaluated.names.end());
  made.evaluated.patterns.insert(b.evaluated.patterns.begin(), b.evaluated.patterns.end());
  if (a.values || b.values) {
    const Cell& other = a.values ? b : a;
    Cell listed{.kind = a.kind,
                .spoken = made.spoken,
                .fewer = made.fewer,
                .values = std::vector<const Node*>(),
                .evaluated = std::move(made.evaluated)};
    for (const Node* value : a.values ? *a.values : *b.values)
      if (contains(other, *value)) listed.values->push_back(value);
    return listed;
  }
  add_new(made.excluded, b.excluded);
  made.min = std::max(a.min, b.min);
  made.max = smaller_limit(a.max, b.max);
  made.number.intersect(b.number);
  add_new(made.patterns, b.patterns);
  add_new(made.items, b.items);
  add_new(made.contains, b.contains);
  made.unique = a.unique || b.unique;
  add_new(made.names, b.names);
  add_new(made.broken, b.broken);
  add_new(made.required, b.required);
  add_new(made.property_names, b.property_names);
  return made;
}

Cells SchemaAlgebra::intersect(const Cells& a, const Cells& b) {
  Cells made;
  for (const Cell& x : a)
    for (const Cell& y : b)
      if (x.kind == y.kind) {
        keep(intersect(x, y), made);
        if (made.size() > kMaxCells)
          throw UsageError(
              fmt::format("schema: more than {} combinations of schemas at one place", kMaxCells));
      }
  return made;
}

Cells SchemaAlgebra::find_cells(Expr expr) {
  const Entry& entry = entries_[static_cast<size_t>(expr)];
  switch (entry.kind) {
    case Entry::kAll:
      return everything();
    case Entry::kNone:
      return {};
    case Entry::kBoth: {
      Cells made = cells(entry.parts[0]);
      for (size_t i = 1; i < entry.parts.size(); ++i) {
        const Entry& part = entries_[static_cast<size_t>(entry.parts[i])];
        if (part.kind == Entry::kNot)
          made = subtract(std::move(made), part.parts[0]);
        else
          made = intersect(made, cells(entry.parts[i]));
      }
      return made;
    }
    case Entry::kEither: {
      Cells made;
      for (const Expr part : entry.parts) {
        const Cells& own = cells(part);
        made.insert(made.end(), own.begin(), own.end());
      }
      return made;
    }
    case Entry::kNot:
      return subtract(everything(), entry.parts[0]);
    case Entry::kPlace:
      break;
  }
  return read_cells(*this, entry.place);
}

// --- Membership.

bool SchemaAlgebra::accepts(Expr expr, const Node& value) {
  if (expr == kAnything) return true;
  const bool doubtful = doubtful_;
  const Cells& list = cells(expr);
  const bool found = std::any_of(list.begin(), list.end(),
                                 [&](const Cell& cell) { return contains(cell, value); });
  if (found) doubtful_ = doubtful;
  return found;
}

bool SchemaAlgebra::contains(const Cell& cell, const Node& value) {
  work();
  if (kind_of(value) != cell.kind) return false;
  doubtful_ = doubtful_ || cell.fewer;  // a "no" is not certain; accepts() forgets it for a "yes"
  const auto is_value = [&](const Node* one) { return equal_values(*one, value); };
  if (cell.values) return std::any_of(cell.values->begin(), cell.values->end(), is_value);
  if (std::any_of(cell.excluded.begin(), cell.excluded.end(), is_value)) return false;
  if (cell.kind == Cell::kNumber) {
    const auto number = Decimal::parse(value.dump());
    work(cell.number.bounds.size() + cell.number.multiples.size());
    if (cell.number.pointless && value.is_number_float()) return false;
    return number && cell.number.contains(*number);
  }
  const auto size = static_cast<int64_t>(
      value.is_string() ? count_characters(value.get_ref<const std::string&>()) : value.size());
  if (size < cell.min || (cell.max != kNoLimit && size > cell.max)) return false;
  if (cell.kind == Cell::kArray) return contains_array(cell, value);
  if (cell.kind == Cell::kObject) return contains_object(cell, value);
  return std::all_of(cell.patterns.begin(), cell.patterns.end(), [&](const auto& pattern) {
    return texts_.contains(pattern_set(pattern.first), value.get_ref<const std::string&>()) ==
           pattern.second;
  });
}

bool SchemaAlgebra::contains_array(const Cell& cell, const Node& value) {
  for (size_t i = 0; i < value.size(); ++i) {
    for (const ItemRule& rule : cell.items)
      if (!accepts(rule.at(i), value[i])) return false;
    for (size_t j = 0; cell.unique && j < i; ++j) {
      work();
      if (equal_values(value[i], value[j])) return false;
    }
  }
  for (const ContainsRule& rule : cell.contains) {
    int64_t count = 0;
    for (size_t i = rule.from; i < value.size(); ++i) count += accepts(rule.expr, value[i]) ? 1 : 0;
    if (count < rule.min || (rule.max != kNoLimit && count > rule.max)) return false;
  }
  return true;
}

bool SchemaAlgebra::meets(const NameRule& rule, const std::string& name, const Node& value) {
  bool listed = false;
  if (const auto own = rule.by_name.find(name); own != rule.by_name.end()) {
    listed = true;
    if (!accepts(own->second, value)) return false;
  }
  for (const auto& [pattern, expr] : rule.patterns) {
    if (!texts_.contains(pattern_set(pattern), name)) continue;
    listed = true;
    if (!accepts(expr, value)) return false;
  }
  return listed || accepts(rule.rest, value);
}

bool SchemaAlgebra::contains_object(const Cell& cell, const Node& value) {
  for (const std::string& name : cell.required) {
    work(1 + value.size() / kNamesPerStep);
    if (!value.contains(name)) return false;
  }
  for (const auto& [name, member] : value.items()) {
    for (const auto& rule : cell.names)
      if (!meets(*rule, name, member)) return false;
    for (const Expr expr : cell.property_names)
      if (!accepts(expr, Node(name))) return false;
  }
  return std::all_of(cell.broken.begin(), cell.broken.end(), [&](const auto& rule) {
    return std::any_of(value.items().begin(), value.items().end(),
                       [&](const auto& item) { return !meets(*rule, item.key(), item.value()); });
  });
}

Expr SchemaAlgebra::property(const NameRule& rule, const std::string& name) {
  work(1 + rule.patterns.size());
  const auto own = rule.by_name.find(name);
  bool listed = own != rule.by_name.end();
  Expr expr = listed ? own->second : kAnything;
  for (const auto& [pattern, more] : rule.patterns) {
    if (!texts_.contains(pattern_set(pattern), name)) continue;
    listed = true;
    expr = both(expr, more);
  }
  return listed ? expr : rule.rest;
}

Expr SchemaAlgebra::property(const NameRules& rules, const std::string& name) {
  Expr expr = kAnything;
  for (const auto& rule : rules) expr = both(expr, property(*rule, name));
  return expr;
}

Expr SchemaAlgebra::item(const Cell& cell, size_t index) {
  Expr expr = kAnything;
  for (const ItemRule& rule : cell.items) expr = both(expr, rule.at(index));
  return expr;
}

// --- Emptiness.

bool SchemaAlgebra::is_empty(Expr expr, int depth) {
  if (expr == kNothing) return true;
  if (expr == kAnything || depth > kMaxDepth) return false;
  Entry& entry = entries_[static_cast<size_t>(expr)];
  if (entry.empty) {
    doubtful_ = doubtful_ || (*entry.empty && entry.doubtful);
    return *entry.empty;
  }
  ++probing_;
  const bool doubtful = std::exchange(doubtful_, false);
  bool empty = false;
  try {
    const Cells& list = cells(expr);
    empty = std::all_of(list.begin(), list.end(),
                        [&](const Cell& cell) { return is_empty(cell, depth + 1); });
    entry.empty = empty;
    entry.doubtful = entry.doubtful || (empty && doubtful_);
  } catch (const Unfinished&) {
  }
  --probing_;
  doubtful_ = doubtful || (empty && doubtful_);
  return empty;
}

bool SchemaAlgebra::is_empty(const Cell& cell, int depth) {
  const bool doubtful = doubtful_;
  const bool empty = find_empty(cell, depth);
  doubtful_ = empty ? doubtful_ || cell.fewer : doubtful;
  return empty;
}

bool SchemaAlgebra::find_empty(const Cell& cell, int depth) {
  work(weight(cell));  // it has just been made
  if (cell.values) return cell.values->empty();
  if (cell.max != kNoLimit && cell.min > cell.max) return true;
  switch (cell.kind) {
    case Cell::kNumber:
      work(cell.number.bounds.size() * cell.number.bounds.size() / kNamesPerStep);
      return cell.number.is_empty();
    case Cell::kString:
      return cell.patterns.size() > 1 && texts_.is_empty(text_set(cell));
    case Cell::kArray:
      return is_empty_array(cell, depth);
    case Cell::kObject:
      return is_empty_object(cell, depth);
    default:
      return false;
  }
}

bool SchemaAlgebra::is_empty_array(const Cell& cell, int depth) {
  constexpr int64_t kLooked = 32;
  for (int64_t i = 0; i < std::min(cell.min, kLooked); ++i)
    if (is_empty(item(cell, static_cast<size_t>(i)), depth)) return true;
  return std::any_of(cell.contains.begin(), cell.contains.end(), [&](const ContainsRule& rule) {
    return (rule.max != kNoLimit && rule.min > rule.max) ||
           (cell.max != kNoLimit && rule.min + static_cast<int64_t>(rule.from) > cell.max) ||
           (rule.min > 0 && rule.expr == kNothing);
  });
}

bool SchemaAlgebra::is_empty_object(const Cell& cell, int depth) {
  if (cell.max != kNoLimit && std::ssize(cell.required) > cell.max) return true;
  return std::any_of(cell.required.begin(), cell.required.end(), [&](const std::string& name) {
    if (is_empty(property(cell.names, name), depth)) return true;
    return std::any_of(cell.property_names.begin(), cell.property_names.end(),
                       [&](Expr expr) { return !accepts(expr, Node(name)); });
  });
}

// --- Texts.

PatternId SchemaAlgebra::add_pattern(const std::string& source, const std::string& path,
                                     bool fewer) {
  const auto [at, is_new] =
      by_source_.try_emplace(source, static_cast<PatternId>(patterns_.size()));
  if (is_new)
    patterns_.push_back({.path = "schema " + path,
                         .regex = Regex::parse(source, "schema " + path),
                         .fewer = fewer});
  return at->second;
}

PatternId SchemaAlgebra::pattern_of_names(Expr expr) {
  const Cells& list = cells(expr);
  const bool fewer = std::any_of(list.begin(), list.end(), [](const Cell& cell) {
    return cell.kind == Cell::kString && cell.fewer;
  });
  patterns_.push_back({.path = path(expr), .regex = {}, .fewer = fewer, .set = text_set(expr)});
  return static_cast<PatternId>(patterns_.size() - 1);
}

TextSets::Id SchemaAlgebra::pattern_set(PatternId id) {
  SchemaPattern& pattern = patterns_[static_cast<size_t>(id)];
  if (pattern.set < 0) pattern.set = texts_.search(pattern.regex, pattern.path);
  return pattern.set;
}

TextSets::Id SchemaAlgebra::text_set(const Cell& cell) {
  std::vector<TextSets::Id> parts;
  if (cell.values) {
    for (const Node* value : *cell.values)
      parts.push_back(texts_.text(value->get_ref<const std::string&>()));
    return texts_.either(std::move(parts));
  }
  for (const auto& [pattern, found] : cell.patterns)
    parts.push_back(found ? pattern_set(pattern) : texts_.negation(pattern_set(pattern)));
  for (const Node* value : cell.excluded)
    parts.push_back(texts_.negation(texts_.text(value->get_ref<const std::string&>())));
  if (cell.min > 0 || cell.max != kNoLimit) parts.push_back(texts_.length(cell.min, cell.max));
  return texts_.both(std::move(parts));
}

TextSets::Id SchemaAlgebra::text_set(Expr expr) {
  std::vector<TextSets::Id> parts;
  for (const Cell& cell : cells(expr))
    if (cell.kind == Cell::kString) parts.push_back(text_set(cell));
  return texts_.either(std::move(parts));
}

}  // namespace um
