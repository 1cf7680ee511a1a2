// Schemas read into cells: each keyword narrows what the others leave.
#include <algorithm>
#include <array>
#include <initializer_list>

#include "core/error.h"
#include "core/json.h"
#include "core/keyed_hash.h"
#include "engine/grammar/formats.h"
#include "engine/grammar/schema_algebra.h"

namespace um {
namespace {

using Node = SchemaNode;
using Cell = SchemaCell;

constexpr int64_t kMaxCount = 65'536;  // of characters, items or properties
constexpr size_t kMaxBranches = 1000;

/// The drafts that know a keyword; others ignore it. A schema without $schema may use all.
struct Since {
  std::string_view keyword;
  int first = 0, last = 9999;
};
constexpr std::array<Since, 16> kSince = {{{"const", 6},
                                           {"contains", 6},
                                           {"propertyNames", 6},
                                           {"if", 7},
                                           {"then", 7},
                                           {"else", 7},
                                           {"dependentRequired", 2019},
                                           {"dependentSchemas", 2019},
                                           {"unevaluatedItems", 2019},
                                           {"unevaluatedProperties", 2019},
                                           {"minContains", 2019},
                                           {"maxContains", 2019},
                                           {"prefixItems", 2020},
                                           {"$dynamicRef", 2020},
                                           {"$recursiveRef", 2019, 2019},
                                           {"additionalItems", 0, 2019}}};

Cell::Kind kind_of_keyword(std::string_view keyword, bool& known) {
  static const std::map<std::string_view, Cell::Kind> kinds = {
      {"properties", Cell::kObject},
      {"required", Cell::kObject},
      {"additionalProperties", Cell::kObject},
      {"patternProperties", Cell::kObject},
      {"minProperties", Cell::kObject},
      {"maxProperties", Cell::kObject},
      {"propertyNames", Cell::kObject},
      {"dependencies", Cell::kObject},
      {"dependentRequired", Cell::kObject},
      {"dependentSchemas", Cell::kObject},
      {"unevaluatedProperties", Cell::kObject},
      {"items", Cell::kArray},
      {"additionalItems", Cell::kArray},
      {"prefixItems", Cell::kArray},
      {"minItems", Cell::kArray},
      {"maxItems", Cell::kArray},
      {"uniqueItems", Cell::kArray},
      {"contains", Cell::kArray},
      {"unevaluatedItems", Cell::kArray},
      {"minLength", Cell::kString},
      {"maxLength", Cell::kString},
      {"pattern", Cell::kString},
      {"format", Cell::kString},
      {"minimum", Cell::kNumber},
      {"maximum", Cell::kNumber},
      {"exclusiveMinimum", Cell::kNumber},
      {"exclusiveMaximum", Cell::kNumber},
      {"multipleOf", Cell::kNumber}};
  const auto at = kinds.find(keyword);
  known = at != kinds.end();
  return known ? at->second : Cell::kNull;
}

}  // namespace

class SchemaReader {
 public:
  using Cells = SchemaCells;
  using Expr = SchemaExpr;

  SchemaReader(SchemaAlgebra& algebra, const SchemaPlace& place)
      : algebra_(algebra),
        place_(place),
        node_(*place.node),
        source_(*algebra.source_of_.at(place.resource)),
        draft_(place.resource->draft) {}

  Cells read() {
    if (node_.is_boolean()) return node_.get<bool>() ? SchemaAlgebra::everything() : Cells{};
    if (!node_.is_object()) refuse("expected a schema: an object, true or false");
    if (draft_ != 0 && draft_ <= 7 && node_.contains("$ref")) return reference("$ref");
    cells_ = SchemaAlgebra::everything();
    // What is decided by comparing with the rest comes last, but keeps its place in the order of
    // properties.
    const bool properties = node_.contains("properties");  // once: to look takes linear time
    bool listed = !properties;
    for (const auto& [keyword, value] : node_.items()) {
      if (!in_draft(keyword)) continue;
      if (keyword == "properties") listed = true;
      if (keyword == "oneOf" || keyword == "if") {
        (listed ? late_ : early_).push_back(keyword);
      } else if (keyword == "properties" || (!local_done_ && !properties)) {
        narrow(local());
        local_done_ = true;
      }
      apply(keyword, value);
    }
    for (const std::string& keyword : early_) compare(keyword, true);
    for (const std::string& keyword : late_) compare(keyword, false);
    if (has("not")) cells_ = algebra_.subtract(std::move(cells_), child("not"));
    if (has("unevaluatedProperties")) unevaluated_properties();
    if (has("unevaluatedItems")) unevaluated_items();
    return std::move(cells_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const { refuse_schema(place_.path, what); }

  /// Whether the keyword is there, and one of the schema's draft.
  bool has(std::string_view keyword) const { return node_.contains(keyword) && in_draft(keyword); }
  bool in_draft(std::string_view keyword) const {
    const auto since = std::find_if(kSince.begin(), kSince.end(),
                                    [&](const Since& one) { return one.keyword == keyword; });
    return since == kSince.end() || draft_ == 0 ||
           (draft_ >= since->first && draft_ <= since->last);
  }

  Expr expr(const Node& node, const std::string& path) {
    if (!node.is_object() && !node.is_boolean())
      refuse_schema(place_.path + path, "expected a schema: an object, true or false");
    return algebra_.place(source_.child(place_, node, path));
  }
  Expr child(const char* keyword) { return expr(node_[keyword], std::string("/") + keyword); }
  const Cells& cells_of(Expr expr) { return algebra_.cells(expr); }
  void narrow(const Cells& other) { cells_ = algebra_.intersect(cells_, other); }

  void apply(const std::string& keyword, const Node& value) {
    if (keyword == "type") return narrow(types(value));
    if (keyword == "enum" || keyword == "const") return narrow(listed(keyword, value));
    if (keyword == "$ref" || keyword == "$dynamicRef" || keyword == "$recursiveRef")
      return narrow(reference(keyword));
    if (keyword == "allOf") {
      for (const Expr branch : branches(keyword)) narrow(cells_of(branch));
    } else if (keyword == "anyOf") {
      narrow(any_of(branches(keyword)));
    } else if (keyword == "dependentRequired" || keyword == "dependentSchemas" ||
               keyword == "dependencies") {
      dependent(keyword, value);
    }
  }

  // --- Combinations.

  std::vector<Expr> branches(const std::string& keyword) {
    const Node& list = node_[keyword];
    if (!list.is_array() || list.empty())
      refuse(fmt::format("\"{}\": expected a list of schemas", keyword));
    if (list.size() > kMaxBranches)
      refuse(fmt::format("\"{}\": more than {} schemas", keyword, kMaxBranches));
    std::vector<Expr> made;
    for (size_t i = 0; i < list.size(); ++i)
      made.push_back(expr(list[i], fmt::format("/{}/{}", keyword, i)));
    return made;
  }

  /// A value may meet several branches, which then all count for "unevaluated...".
  Cells any_of(const std::vector<Expr>& exprs) {
    constexpr size_t kMaxSets = 4;
    Cells made;
    if (!source_.has_unevaluated() || exprs.size() > kMaxSets) {
      for (const Expr one : exprs)
        made.insert(made.end(), cells_of(one).begin(), cells_of(one).end());
      if (source_.has_unevaluated())
        for (Cell& cell : made) cell.fewer = true;
      return made;
    }
    for (size_t set = 1; set < size_t{1} << exprs.size(); ++set) {
      Cells all = SchemaAlgebra::everything();
      for (size_t i = 0; i < exprs.size(); ++i)
        if ((set >> i & 1) != 0) all = algebra_.intersect(all, cells_of(exprs[i]));
      made.insert(made.end(), all.begin(), all.end());
    }
    return made;
  }

  /// `first`: the keyword's properties stand before those found so far.
  Cells with(const Cells& other, bool first) {
    return first ? algebra_.intersect(other, cells_) : algebra_.intersect(cells_, other);
  }

  void compare(const std::string& keyword, bool first) {
    if (keyword == "oneOf") {
      cells_ = one_of(branches(keyword), first);
    } else if (has("then") || has("else") || source_.has_unevaluated()) {
      const Expr condition = child("if");
      Cells yes = with(cells_of(condition), first), no = algebra_.subtract(cells_, condition);
      if (has("then")) yes = algebra_.intersect(yes, cells_of(child("then")));
      if (has("else")) no = algebra_.intersect(no, cells_of(child("else")));
      yes.insert(yes.end(), no.begin(), no.end());
      cells_ = std::move(yes);
    }
  }

  Cells one_of(const std::vector<Expr>& exprs, bool first) {
    Cells made;
    for (size_t i = 0; i < exprs.size(); ++i) {
      Cells own = with(cells_of(exprs[i]), first);
      for (size_t j = 0; j < exprs.size() && !own.empty(); ++j)
        if (j != i) own = algebra_.subtract(std::move(own), exprs[j]);
      made.insert(made.end(), own.begin(), own.end());
    }
    return made;
  }

  /// If the property is there, the rest holds as well.
  void dependent(const std::string& keyword, const Node& value) {
    if (!value.is_object()) refuse(fmt::format("\"{}\": expected an object", keyword));
    for (const auto& [name, rest] : value.items()) {
      algebra_.work(cells_.size());
      Cells needed = SchemaAlgebra::everything();
      if (rest.is_array() && keyword != "dependentSchemas")
        needed[Cell::kObject].required = names_of(rest, keyword);
      else if (keyword != "dependentRequired")
        needed = cells_of(expr(rest, fmt::format("/{}/{}", keyword, name)));
      else
        refuse(fmt::format("\"{}\": expected lists of names", keyword));
      Cells made;
      for (Cell& cell : cells_) {
        if (cell.kind != Cell::kObject || cell.values) {
          depend_values(std::move(cell), name, needed, made);
          continue;
        }
        algebra_.keep(SchemaAlgebra::with_property(cell, name, kNothing, false), made);
        cell = SchemaAlgebra::with_property(std::move(cell), name, kAnything, true);
        for (const Cell& one : algebra_.intersect({cell}, needed)) made.push_back(one);
      }
      cells_ = std::move(made);
    }
  }
  void depend_values(Cell cell, const std::string& name, const Cells& needed, Cells& made) {
    if (cell.kind == Cell::kObject)
      std::erase_if(*cell.values, [&](const Node* value) {
        algebra_.work(1 + value->size() / kNamesPerStep);
        return value->contains(name) &&
               std::none_of(needed.begin(), needed.end(),
                            [&](const Cell& one) { return algebra_.contains(one, *value); });
      });
    algebra_.keep(std::move(cell), made);
  }

  Cells reference(const std::string& keyword) {
    const Node& target = node_[keyword];
    if (!target.is_string()) refuse(fmt::format("\"{}\": expected a string", keyword));
    const auto uri = target.get<std::string>();
    const size_t hash = uri.find('#');
    const std::string anchor =
        keyword == "$recursiveRef" || hash == std::string::npos ? "" : uri.substr(hash + 1);
    if (keyword != "$ref" && source_.dynamic_anchors(anchor) > 1)
      refuse(
          fmt::format("\"{}\" to an anchor that several schemas have is not supported", keyword));
    const SchemaPlace at = source_.resolve(place_, uri);
    if (!at.node->is_object() && !at.node->is_boolean())
      refuse(fmt::format("the reference {} leads to what is no schema", quote(uri)));
    return cells_of(algebra_.place(at));
  }

  // --- Types and values.

  Cells types(const Node& type) {
    Cells made;
    const Node list = type.is_array() ? type : Node::array({type});
    static const std::map<std::string, Cell::Kind> kinds = {
        {"null", Cell::kNull},      {"boolean", Cell::kBoolean}, {"number", Cell::kNumber},
        {"integer", Cell::kNumber}, {"string", Cell::kString},   {"array", Cell::kArray},
        {"object", Cell::kObject}};
    const bool numbers = std::find(list.begin(), list.end(), "number") != list.end();
    if (list.empty()) refuse("\"type\": expected a type or a list of types");
    for (const Node& name : list) {
      const auto kind = name.is_string() ? kinds.find(name.get<std::string>()) : kinds.end();
      if (kind == kinds.end())
        refuse("\"type\": expected object, array, string, number, integer, boolean or null");
      const bool whole = name == "integer";
      algebra_.work(Cell::kKinds);
      if (whole && numbers) continue;
      made.push_back(SchemaAlgebra::everything()[kind->second]);
      made.back().spoken = Cell::kSaid;
      if (whole) made.back().number.whole = true;
      made.back().number.pointless = whole && draft_ == 4;
    }
    return made;
  }

  Cells listed(const std::string& keyword, const Node& value) {
    if (keyword == "enum" && (!value.is_array() || value.empty()))
      refuse("\"enum\": expected a list of values");
    Cells made(Cell::kKinds);
    for (int kind = 0; kind < Cell::kKinds; ++kind)
      made[static_cast<size_t>(kind)] = {.kind = static_cast<Cell::Kind>(kind),
                                         .spoken = Cell::kSaid,
                                         .values = std::vector<const Node*>()};
    if (keyword == "const")
      made[kind_of(value)].values->push_back(&value);
    else
      for (const Node& one : value) made[kind_of(one)].values->push_back(&one);
    std::erase_if(made, [](const Cell& cell) { return cell.values->empty(); });
    return made;
  }

  // --- What speaks of one type.

  Cells local() {
    Cells made = SchemaAlgebra::everything();
    bool any = false;
    std::array<bool, Cell::kKinds> said = {};
    for (const auto& [keyword, value] : node_.items()) {
      bool known = false;
      const Cell::Kind kind = kind_of_keyword(keyword, known);
      if (!known || !in_draft(keyword)) continue;
      any = said[kind] = true;
    }
    for (Cell& cell : made) {
      if (any) cell.spoken = said[cell.kind] ? Cell::kSaid : Cell::kPasses;
      if (!said[cell.kind]) continue;
      if (cell.kind == Cell::kNumber) number(cell);
      if (cell.kind == Cell::kString) string(cell);
      if (cell.kind == Cell::kArray) array(cell);
      if (cell.kind == Cell::kObject) object(cell);
    }
    return made;
  }

  Decimal decimal(const char* keyword) const {
    const Node& value = node_[keyword];
    const auto number = value.is_number() ? Decimal::parse(value.dump()) : std::nullopt;
    if (!number)
      refuse(
          fmt::format("\"{}\": expected a number, found {}", keyword, value.dump().substr(0, 60)));
    return *number;
  }

  void number(Cell& cell) {
    const auto bound = [&](const char* keyword, const char* exclusive, bool low) {
      const bool draft_4 = node_.contains(exclusive) && node_[exclusive].is_boolean();
      const auto add = [&](const char* name, bool equal) {
        cell.number.bounds.push_back({decimal(name), !low, equal, low});
      };
      if (node_.contains(keyword)) add(keyword, !(draft_4 && node_[exclusive] == true));
      if (node_.contains(exclusive) && !draft_4) add(exclusive, false);
    };
    bound("minimum", "exclusiveMinimum", true);
    bound("maximum", "exclusiveMaximum", false);
    if (!node_.contains("multipleOf")) return;
    const Decimal of = decimal("multipleOf");
    const std::string digits = of.whole + of.fraction;
    if (of.negative || of.is_zero() || digits.size() > 15)
      refuse("\"multipleOf\": expected a number above 0 of at most 15 digits");
    if (digits == "1") {  // large ones are multiples however they are rounded
      cell.number.whole = true;
      return;
    }
    cell.number.multiples.push_back(
        {.units = std::stoull(digits), .places = static_cast<int>(of.fraction.size())});
  }

  /// A count; what is above the limit becomes the limit, so fewer values are allowed.
  int64_t count(const char* keyword, int64_t fallback, Cell& cell) const {
    if (!has(keyword)) return fallback;
    const Node& value = node_[keyword];
    const auto number = value.is_number() ? Decimal::parse(value.dump()) : std::nullopt;
    if (!number || number->negative || !number->fraction.empty())
      refuse(fmt::format("\"{}\": expected a whole number from 0 on", keyword));
    if (number->whole.size() <= 6 && std::stoll(number->whole) <= kMaxCount)
      return std::stoll(number->whole);
    if (std::string_view(keyword).starts_with("min"))
      refuse(fmt::format("\"{}\": expected at most {}", keyword, kMaxCount));
    cell.fewer = true;
    return kMaxCount;
  }

  void string(Cell& cell) {
    cell.min = count("minLength", 0, cell);
    cell.max = count("maxLength", kNoLimit, cell);
    if (node_.contains("pattern")) {
      if (!node_["pattern"].is_string()) refuse("\"pattern\": expected a string");
      cell.patterns.emplace_back(
          algebra_.add_pattern(node_["pattern"].get<std::string>(), place_.path), true);
    }
    if (!node_.contains("format") || !node_["format"].is_string()) return;
    const FormatPattern format = pattern_of_format(node_["format"].get<std::string>());
    if (format.pattern.empty()) return;
    cell.patterns.emplace_back(algebra_.add_pattern(format.pattern, place_.path), true);
    cell.fewer = cell.fewer || format.fewer;
  }

  void array(Cell& cell) {
    cell.min = count("minItems", 0, cell);
    cell.max = count("maxItems", kNoLimit, cell);
    ItemRule rule;
    const bool list = has("items") && node_["items"].is_array() && (draft_ == 0 || draft_ < 2020);
    const char* prefix = list ? "items" : "prefixItems";
    const char* rest = list ? "additionalItems" : "items";
    if (list || has(prefix)) {
      if (!node_[prefix].is_array())
        refuse(fmt::format("\"{}\": expected a list of schemas", prefix));
      for (size_t i = 0; i < node_[prefix].size(); ++i)
        rule.prefix.push_back(expr(node_[prefix][i], fmt::format("/{}/{}", prefix, i)));
    }
    if (has(rest)) rule.rest = child(rest);
    if (!rule.prefix.empty() || rule.rest != kAnything) cell.items.push_back(rule);
    cell.evaluated.items = rule.prefix.size();
    cell.evaluated.all_items = has(rest);
    if (has("uniqueItems")) {
      if (!node_["uniqueItems"].is_boolean()) refuse("\"uniqueItems\": expected true or false");
      cell.unique = node_["uniqueItems"].get<bool>();
      cell.fewer = cell.fewer || cell.unique;
    }
    if (!has("contains")) return;
    cell.contains.push_back({.expr = child("contains"),
                             .min = count("minContains", 1, cell),
                             .max = count("maxContains", kNoLimit, cell)});
    if (draft_ == 0 || draft_ >= 2020) cell.evaluated.contained = {child("contains")};
  }

  void check_property_count(size_t count) const {
    if (count > kMaxProperties)
      refuse(fmt::format("more than {} properties is not supported", kMaxProperties));
  }

  std::vector<std::string> names_of(const Node& list, const std::string& keyword) const {
    std::vector<std::string> names;
    NameSet seen;
    if (!list.is_array()) refuse(fmt::format("\"{}\": expected a list of names", keyword));
    for (const Node& name : list) {
      algebra_.work();
      if (!name.is_string()) refuse(fmt::format("\"{}\": expected a list of names", keyword));
      if (seen.insert(name.get<std::string>()).second) names.push_back(name.get<std::string>());
      check_property_count(names.size());
    }
    return names;
  }

  void object(Cell& cell) {
    cell.min = count("minProperties", 0, cell);
    cell.max = count("maxProperties", kNoLimit, cell);
    if (has("required")) cell.required = names_of(node_["required"], "required");
    if (has("propertyNames")) cell.property_names.push_back(child("propertyNames"));
    auto rule = std::make_shared<NameRule>();
    for (const char* keyword : {"properties", "patternProperties"}) {
      if (!has(keyword)) continue;
      if (!node_[keyword].is_object()) refuse(fmt::format("\"{}\": expected an object", keyword));
      check_property_count(node_[keyword].size());
      for (const auto& [name, schema] : node_[keyword].items()) {
        const std::string path = fmt::format("/{}/{}", keyword, name);
        if (*keyword == 'p' && keyword[1] == 'r') {
          rule->add(name, expr(schema, path));
          cell.evaluated.names.insert(name);
        } else {
          const PatternId pattern = algebra_.add_pattern(name, place_.path + path);
          rule->patterns.emplace_back(pattern, expr(schema, path));
          cell.evaluated.patterns.insert(pattern);
        }
      }
    }
    if (has("additionalProperties")) {
      rule->rest = child("additionalProperties");
      cell.evaluated.all_names = true;
    }
    if (!rule->names.empty() || !rule->patterns.empty() || rule->rest != kAnything)
      cell.names.push_back(std::move(rule));
  }

  // --- What no other keyword has looked at.

  void unevaluated_properties() {
    const Expr rest = child("unevaluatedProperties");
    for (Cell& cell : cells_) {
      if (cell.kind != Cell::kObject || cell.evaluated.all_names) continue;
      auto rule = std::make_shared<NameRule>();
      for (const std::string& name : cell.evaluated.names) rule->add(name, kAnything);
      for (const PatternId pattern : cell.evaluated.patterns)
        rule->patterns.emplace_back(pattern, kAnything);
      rule->rest = rest;
      Cell rests = SchemaAlgebra::everything()[Cell::kObject];
      rests.names.push_back(std::move(rule));
      cell = algebra_.intersect(cell, rests);
      cell.evaluated.all_names = true;
    }
  }

  void unevaluated_items() {
    const Expr rest = child("unevaluatedItems");
    std::map<std::vector<Expr>, Expr> made;
    const auto or_contained = [&](std::vector<Expr> parts) {
      parts.push_back(rest);
      const auto [at, is_new] = made.try_emplace(parts);
      if (is_new) at->second = algebra_.either(parts);
      return at->second;
    };
    for (Cell& cell : cells_) {
      if (cell.kind != Cell::kArray || cell.evaluated.all_items) continue;
      Cell rests = SchemaAlgebra::everything()[Cell::kArray];
      rests.items.push_back({.prefix = std::vector<Expr>(cell.evaluated.items, kAnything),
                             .rest = or_contained(cell.evaluated.contained)});
      cell = algebra_.intersect(cell, rests);
      cell.evaluated.all_items = true;
    }
  }

  SchemaAlgebra& algebra_;
  SchemaPlace place_;
  const Node& node_;
  const SchemaSource& source_;
  int draft_;
  Cells cells_;
  bool local_done_ = false;
  std::vector<std::string> early_, late_;
};

SchemaCells read_cells(SchemaAlgebra& algebra, const SchemaPlace& place) {
  return SchemaReader(algebra, place).read();
}

SchemaExpr SchemaAlgebra::read(std::string_view text, const std::string& name) {
  const SchemaSource& source = sources_.emplace_back(text, name);
  source.list_resources([&](const SchemaResource* one) { source_of_[one] = &source; });
  return place(source.root());
}

SchemaExpr SchemaAlgebra::place(const SchemaPlace& at) {
  if (at.node->is_boolean()) return at.node->get<bool>() ? kAnything : kNothing;
  const auto [known, is_new] = by_node_.try_emplace(at.node, -1);
  if (is_new) known->second = add({.kind = Entry::kPlace, .place = at});
  return known->second;
}

}  // namespace um
