// Arrays: a state knows the index of the item that comes, how many items each `contains` has found,
// and of a list without repeats which values it has.
#include <algorithm>
#include <map>

#include "core/error.h"
#include "engine/grammar/schema_writer.h"

namespace um {

class ArrayWriter {
 public:
  using State = Grammar::State;
  using Expr = SchemaExpr;
  using Cell = SchemaCell;

  ArrayWriter(SchemaWriter& writer, const Cell& cell, Expr expr, State to)
      : writer_(writer), grammar_(writer.grammar_), cell_(cell), expr_(expr), to_(to) {
    for (const ItemRule& rule : cell.items) prefix_ = std::max(prefix_, rule.prefix.size());
    last_ = prefix_;
    for (const ContainsRule& rule : cell.contains) last_ = std::max(last_, rule.from);
    last_ = std::max(last_, static_cast<size_t>(cell.min));
    if (cell.max != kNoLimit) last_ = static_cast<size_t>(cell.max);
    if (cell.unique && cell.max != 0 && cell.max != 1) list_values();
  }

  void write(State from) {
    Place start;
    start.counts.resize(cell_.contains.size());
    const State open = grammar_.add_state();
    close_ = grammar_.add_state();
    grammar_.add_bytes(from, '[', '[', open);
    grammar_.add_bytes(close_, ']', ']', to_);
    if (may_close(start)) grammar_.add_empty(open, close_);
    writer_.rules_.space(open, item_state(start));
    while (!open_.empty()) {
      const Place place = open_.back();
      open_.pop_back();
      items(place, items_.at(place));
    }
  }

 private:
  struct Place {
    size_t index = 0;  ///< at most last_
    std::vector<int64_t> counts = {};
    uint32_t used = 0;  ///< of values_, one bit each
    auto operator<=>(const Place&) const = default;
  };

  static constexpr size_t kMaxValues = 10;

  void list_values() {
    std::vector<const SchemaNode*> found;
    for (size_t i = 0; i <= prefix_; ++i) {
      if (cell_.max != kNoLimit && static_cast<int64_t>(i) >= cell_.max) break;
      if (!writer_.listed_values(writer_.algebra_.item(cell_, i), found))
        refuse_schema(writer_.algebra_.path(expr_),
                      "\"uniqueItems\" is supported where the items are of a list of values, or "
                      "where there is at most one");
    }
    for (const SchemaNode* value : found)
      if (std::none_of(values_.begin(), values_.end(),
                       [&](const SchemaNode* other) { return equal_values(*value, *other); }))
        values_.push_back(value);
    // Of many values only lists in their order.
    ordered_ = values_.size() > kMaxValues;
    unique_ = true;
  }

  bool may_close(const Place& place) const {
    if (static_cast<int64_t>(place.index) < cell_.min) return false;
    for (size_t i = 0; i < place.counts.size(); ++i)
      if (place.counts[i] < cell_.contains[i].min) return false;
    return true;
  }

  /// Where the item of that index begins.
  State item_state(const Place& place) {
    const auto [at, is_new] = items_.try_emplace(place, -1);
    if (is_new) {
      at->second = grammar_.add_state();
      open_.push_back(place);
    }
    return at->second;
  }

  /// Behind an item: the end, or a comma and the next one.
  State after_state(Place place) {
    const auto [at, is_new] = after_.try_emplace(place, -1);
    if (!is_new) return at->second;
    const State after = at->second = grammar_.add_state();
    if (may_close(place)) writer_.rules_.space(after, close_);
    if (cell_.max != kNoLimit && static_cast<int64_t>(place.index) >= cell_.max) return after;
    const State comma = grammar_.add_state();
    grammar_.add_bytes(after, ',', ',', comma);
    writer_.rules_.space(comma, item_state(place));
    return after;
  }

  void items(const Place& place, State from) {
    if (cell_.max != kNoLimit && static_cast<int64_t>(place.index) >= cell_.max) return;
    const Expr expr = writer_.algebra_.item(cell_, place.index);
    Place next = place;
    next.index = std::min(place.index + 1, last_);
    if (unique_) return values(place, expr, next, from);
    variants(place, 0, expr, next, from);
  }

  /// The item counts for a `contains` if it is written so that it meets it. Where there is a most,
  /// the others are written so that they do not.
  void variants(const Place& place, size_t rule, Expr expr, const Place& next, State from) {
    if (expr == kNothing || writer_.algebra_.is_empty(expr)) return;
    if (rule == cell_.contains.size()) return writer_.call(from, expr, after_state(next));
    const ContainsRule& contains = cell_.contains[rule];
    if (place.index < contains.from) return variants(place, rule + 1, expr, next, from);
    const bool limited = contains.max != kNoLimit;
    const bool needed = place.counts[rule] < contains.min;
    if (needed || (limited && place.counts[rule] < contains.max)) {
      Place counted = next;
      ++counted.counts[rule];
      variants(place, rule + 1, writer_.algebra_.both(expr, contains.expr), counted, from);
    }
    if (limited) expr = writer_.algebra_.both(expr, writer_.algebra_.negation(contains.expr));
    variants(place, rule + 1, expr, next, from);
  }

  void values(const Place& place, Expr expr, const Place& next, State from) {
    if (!cell_.contains.empty())
      refuse_schema(writer_.algebra_.path(expr_),
                    "\"uniqueItems\" beside \"contains\" is not supported");
    for (size_t i = ordered_ ? place.used : 0; i < values_.size(); ++i) {
      if (!ordered_ && (place.used >> i & 1) != 0) continue;
      if (!writer_.algebra_.accepts(expr, *values_[i])) continue;
      Place used = next;
      used.used = ordered_ ? static_cast<uint32_t>(i) + 1 : place.used | uint32_t{1} << i;
      writer_.one_value(*values_[i], from, after_state(used));
    }
  }

  SchemaWriter& writer_;
  Grammar& grammar_;
  const Cell& cell_;
  Expr expr_;
  State to_, close_ = -1;
  size_t prefix_ = 0, last_ = 0;  // from last_ on all items are alike
  bool unique_ = false, ordered_ = false;
  std::vector<const SchemaNode*> values_;
  std::map<Place, State> items_, after_;
  std::vector<Place> open_;
};

/// The values of a schema that has a list of them; false if it has none.
bool SchemaWriter::listed_values(Expr expr, std::vector<const SchemaNode*>& list) {
  if (expr == kAnything) return false;
  for (const Cell* one : spoken_cells(expr)) {
    if (!one->values) return false;
    list.insert(list.end(), one->values->begin(), one->values->end());
  }
  return true;
}

void SchemaWriter::array(const Cell& cell, Expr expr, State from, State to) {
  if (cell.items.empty() && cell.contains.empty() && !cell.unique && cell.min == 0 &&
      cell.max == kNoLimit && cell.excluded.empty())
    return rules_.any_array(from, to);
  Cell rest = cell;
  for (const SchemaNode* value : cell.excluded) {
    if (!value->empty())
      refuse_schema(algebra_.path(expr), "\"not\" of a value of an array is not supported");
    rest.min = std::max<int64_t>(rest.min, 1);
  }
  ArrayWriter(*this, rest, expr, to).write(from);
}

}  // namespace um
