// Objects: listed properties in their order, those that may be left out too, then others. A state
// knows which listed property may come next, and, where they are limited, how many were written.
#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "engine/grammar/schema_writer.h"

namespace um {

class ObjectWriter {
 public:
  using State = Grammar::State;
  using Expr = SchemaExpr;
  using Cell = SchemaCell;

  ObjectWriter(SchemaWriter& writer, const Cell& cell, Expr expr, State to)
      : writer_(writer),
        algebra_(writer.algebra_),
        grammar_(writer.grammar_),
        cell_(cell),
        expr_(expr),
        to_(to) {}

  void write(State from) {
    if (cell_.broken.size() > 1)
      refuse("several conditions on properties that are not listed (\"not\", \"oneOf\")");
    list_properties();
    list_others();
    find_limits();
    const State open = grammar_.add_state();
    close_ = grammar_.add_state();
    grammar_.add_bytes(from, '{', '{', open);
    grammar_.add_bytes(close_, '}', '}', to_);
    if (may_close({})) grammar_.add_empty(open, close_);
    writer_.rules_.space(open, key_state({}));
    while (!open_.empty()) {
      const Place place = open_.back();
      open_.pop_back();
      keys(place, keys_.at(place));
    }
  }

 private:
  struct Property {
    std::string name;
    Expr expr;
    bool required;
  };
  /// Properties that are not listed: those with such names.
  struct Others {
    enum { kAll, kFound, kSet } kind = kAll;  // all but the listed, by one expression, by a set
    PatternId pattern = -1;
    TextSets::Id names = -1;
    Expr expr = kAnything;
    Expr breaking = kNothing;  ///< what breaks the rule that some property must break
  };
  struct Place {
    size_t index = 0;                   ///< listed properties from here on may come
    int64_t written = 0, distinct = 0;  ///< where they count
    bool others = false, broken = false;
    auto operator<=>(const Place&) const = default;
  };

  static constexpr size_t kMaxClasses = 64;

  [[noreturn]] void refuse(const std::string& what) const {
    refuse_schema(algebra_.path(expr_), what + " is not supported");
  }

  // --- What there is.

  void list_properties() {
    std::vector<std::string> names;
    std::set<std::string> seen;
    const auto add = [&](const std::string& name) {
      if (seen.insert(name).second) names.push_back(name);
      if (names.size() > kMaxProperties)
        refuse(fmt::format("more than {} properties", kMaxProperties));
    };
    for (const NameRules* rules : {&cell_.names, &cell_.broken})  // listed there: breaks no rule
      for (const auto& rule : *rules)
        for (const auto& [name, expr] : rule->names) add(name);
    for (const std::string& name : cell_.required) add(name);
    const std::set<std::string> required(cell_.required.begin(), cell_.required.end());
    for (const std::string& name : names) {
      Expr expr = algebra_.property(cell_.names, name);
      for (const Expr allowed : cell_.property_names)
        if (!algebra_.accepts(allowed, SchemaNode(name))) expr = kNothing;
      listed_.push_back(name);
      if (expr != kNothing || required.contains(name))
        properties_.push_back({name, expr, required.contains(name)});
    }
  }

  /// Names that are not listed, in classes: those in which the same patterns are found.
  void list_others() {
    std::vector<PatternId> patterns;
    for (const NameRules* rules : {&cell_.names, &cell_.broken})
      for (const auto& rule : *rules)
        for (const auto& [pattern, expr] : rule->patterns) {
          algebra_.work(1 + patterns.size() / kNamesPerStep);
          if (std::find(patterns.begin(), patterns.end(), pattern) == patterns.end())
            patterns.push_back(pattern);
        }
    std::vector<TextSets::Id> allowed;
    for (const Expr expr : cell_.property_names) allowed.push_back(algebra_.text_set(expr));
    if (patterns.empty() && allowed.empty()) {
      Others all;
      if (set_exprs({}, all)) others_.push_back(all);
      return;
    }
    std::set<PatternId> found;
    split(patterns, 0, algebra_.texts().both(std::move(allowed)), found);
    merge_others();
  }

  /// The schema of properties whose names have these patterns; false if there are none.
  bool set_exprs(const std::set<PatternId>& found, Others& others) {
    const auto of = [&](const NameRule& rule) {
      algebra_.work(1 + rule.patterns.size() / 8);
      Expr expr = kAnything;
      bool any = false;
      for (const auto& [pattern, one] : rule.patterns) {
        if (!found.contains(pattern)) continue;
        any = true;
        expr = algebra_.both(expr, one);
      }
      return any ? expr : rule.rest;
    };
    for (const auto& rule : cell_.names) others.expr = algebra_.both(others.expr, of(*rule));
    for (const auto& rule : cell_.broken)
      others.breaking = algebra_.both(others.expr, algebra_.negation(of(*rule)));
    return others.expr != kNothing && !algebra_.is_empty(others.expr);
  }

  void split(const std::vector<PatternId>& patterns, size_t at, TextSets::Id names,
             std::set<PatternId>& found) {
    TextSets& texts = algebra_.texts();
    algebra_.work(10);
    if (texts.is_empty(names)) return;
    if (at < patterns.size()) {
      const TextSets::Id set = algebra_.pattern_set(patterns[at]);
      split(patterns, at + 1, texts.both({names, texts.negation(set)}), found);
      found.insert(patterns[at]);
      split(patterns, at + 1, texts.both({names, set}), found);
      found.erase(patterns[at]);
      return;
    }
    Others others;
    if (!set_exprs(found, others)) return;
    if (others_.size() >= kMaxClasses) refuse("so many patterns of names that overlap");
    const bool alone = patterns.size() == 1 && !found.empty() && cell_.property_names.empty() &&
                       algebra_.pattern(patterns[0]).regex.plain;
    std::vector<TextSets::Id> parts = {names};
    for (const std::string& name : listed_)
      if (texts.contains(names, name)) parts.push_back(texts.negation(texts.text(name)));
    others.kind = alone && parts.size() == 1 ? Others::kFound : Others::kSet;
    if (others.kind == Others::kFound) others.pattern = patterns[0];
    others.names = texts.both(std::move(parts));
    others_.push_back(others);
  }

  /// Classes with the same schema are one.
  void merge_others() {
    std::vector<Others> merged;
    for (const Others& one : others_) {
      const auto same = std::find_if(merged.begin(), merged.end(), [&](const Others& other) {
        return other.expr == one.expr && other.breaking == one.breaking;
      });
      if (same == merged.end()) {
        merged.push_back(one);
        continue;
      }
      same->names = algebra_.texts().either({same->names, one.names});
      same->kind = Others::kSet;
    }
    others_ = std::move(merged);
  }

  void find_limits() {
    const int64_t required = std::count_if(properties_.begin(), properties_.end(),
                                           [](const Property& one) { return one.required; });
    for (size_t i = 0; i < properties_.size(); ++i)
      if (properties_[i].required) behind_required_ = i + 1;
    least_ = cell_.min <= required ? 0 : cell_.min;
    most_ = cell_.max;
    if (others_.empty() && most_ >= std::ssize(properties_)) most_ = kNoLimit;
    if (!others_.empty() && least_ > std::ssize(properties_) + 1)
      refuse(
          fmt::format("\"minProperties\" above the number of listed properties + 1, as a name "
                      "that is not listed may come twice"));
  }

  // --- Writing.

  bool may_close(const Place& place) const {
    return place.index >= behind_required_ && place.distinct >= least_ &&
           (place.broken || cell_.broken.empty());
  }

  /// Where the name of a property begins, one of those from place.index on.
  State key_state(const Place& place) {
    const auto [at, is_new] = keys_.try_emplace(place, -1);
    if (is_new) {
      at->second = grammar_.add_state();
      open_.push_back(place);
    }
    return at->second;
  }

  State after_state(const Place& place) {
    const auto [at, is_new] = after_.try_emplace(place, -1);
    if (!is_new) return at->second;
    const State after = at->second = grammar_.add_state(), comma = grammar_.add_state();
    if (may_close(place)) writer_.rules_.space(after, close_);
    if (place.index == properties_.size() && others_.empty()) return after;
    grammar_.add_bytes(after, ',', ',', comma);
    writer_.rules_.space(comma, key_state(place));
    return after;
  }

  /// A property was written; one that is not listed may be a name that has come before, so these
  /// count once.
  Place written(Place place, bool listed) const {
    if (most_ != kNoLimit) ++place.written;
    if (listed || !place.others) place.distinct = std::min(place.distinct + 1, least_);
    if (!listed && least_ > 0) place.others = true;
    return place;
  }

  void keys(const Place& place, State from) {
    if (most_ != kNoLimit && place.written >= most_) return;
    if (place.index == properties_.size()) return other_keys(place, from);
    const Property& property = properties_[place.index];
    Place next = written(place, true);
    ++next.index;
    if (property.expr != kNothing) {
      const State value = grammar_.add_state();
      colon(from, property.name, value);
      writer_.call(value, property.expr, after_state(next));
    }
    if (property.required) return;
    next = place;
    ++next.index;
    grammar_.add_empty(from, key_state(next));
  }

  void colon(State from, const std::string& name, State value) {
    const State colon = grammar_.add_state();
    grammar_.add_literal(from, SchemaNode(name).dump() + ":", colon);
    writer_.rules_.space(colon, value);
  }

  void other_keys(const Place& place, State from) {
    for (const Others& others : others_) {
      const State colon = grammar_.add_state(), before = grammar_.add_state();
      const State value = grammar_.add_state();
      if (others.kind == Others::kAll)
        writer_.rules_.string_except(from, listed_, colon);
      else if (others.kind == Others::kFound)
        writer_.rules_.string_with(from, algebra_.pattern(others.pattern).regex, colon);
      else
        writer_.text(others.names, expr_, from, colon);
      grammar_.add_bytes(colon, ':', ':', before);
      writer_.rules_.space(before, value);
      Place next = written(place, false);
      writer_.call(value, others.expr, after_state(next));
      if (place.broken || cell_.broken.empty()) continue;
      next.broken = true;
      writer_.call(value, others.breaking, after_state(next));
    }
  }

  SchemaWriter& writer_;
  SchemaAlgebra& algebra_;
  Grammar& grammar_;
  const Cell& cell_;
  Expr expr_;
  State to_, close_ = -1;
  std::vector<std::string> listed_;
  std::vector<Property> properties_;
  std::vector<Others> others_;
  size_t behind_required_ = 0;  // no property from here on is required
  int64_t least_ = 0, most_ = kNoLimit;
  std::map<Place, State> keys_, after_;
  std::vector<Place> open_;
};

void SchemaWriter::object(const Cell& cell, Expr expr, State from, State to) {
  if (cell.names.empty() && cell.broken.empty() && cell.required.empty() && cell.min == 0 &&
      cell.max == kNoLimit && cell.property_names.empty() && cell.excluded.empty())
    return rules_.any_object(from, to);
  Cell rest = cell;
  for (const SchemaNode* value : cell.excluded) {
    if (!value->empty())
      refuse_schema(algebra_.path(expr), "\"not\" of a value of an object is not supported");
    rest.min = std::max<int64_t>(rest.min, 1);
  }
  ObjectWriter(*this, rest, expr, to).write(from);
}

}  // namespace um
