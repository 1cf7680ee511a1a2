// See schema.h.
#include "engine/grammar/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/json.h"
#include "core/ordered_json.h"
#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema_facts.h"

namespace um {
namespace {

using Node = SchemaNode;
using State = Grammar::State;

constexpr size_t kMaxSchema = size_t{1} << 20;
constexpr int64_t kMaxCount = 65'536;  // of characters or items
constexpr size_t kMaxChoices = 1000;   // of properties or branches at one place: see kMaxPlaces

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

/// Patterns of formats; the others are read as annotations.
std::string pattern_of_format(std::string_view format) {
  const std::string date =
      R"((\d{4}-(0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|\d{4}-(0[469]|11)-(0[1-9]|[12]\d|30))"
      R"(|\d{4}-02-(0[1-9]|1\d|2[0-8])|(\d\d(0[48]|[2468][048]|[13579][26]))"
      R"(|([02468][048]|[13579][26])00)-02-29))";
  const std::string time =
      R"(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))";
  if (format == "date") return "^" + date + "$";
  if (format == "time") return "^" + time + "$";
  if (format == "date-time") return "^" + date + "T" + time + "$";
  if (format == "uuid") return "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
  if (format == "ipv4")
    return R"(^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$)";
  return {};
}

/// A schema's text, checked.
Node parse_schema(std::string_view schema) {
  if (schema.size() > kMaxSchema)
    throw UsageError(
        fmt::format("schema: {} bytes, at most {} are allowed", schema.size(), kMaxSchema));
  try {
    return parse_ordered_json(schema, "schema", {.max_depth = 64, .max_values = 100'000});
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

class Compiler {
 public:
  Compiler() : rules_(grammar_) {}

  Grammar compile(const JsonForm& form) {
    const Grammar::Rule whole = grammar_.add_rule();
    const State begin = grammar_.add_state(), end = grammar_.add_state();
    text(grammar_.start(whole), form.open, begin);
    for (const JsonForm::Piece& piece : form.pieces) {
      roots_.push_back(parse_schema(piece.schema));
      root_ = &roots_.back();
      const State value = grammar_.add_state(), after = grammar_.add_state();
      text(begin, piece.before, value);
      call(value, *root_, piece.name + "#", after);
      text(after, piece.after, end);
    }
    if (form.repeat) text(end, form.between, begin);
    text(end, form.close, grammar_.end(whole));
    while (!open_.empty()) {  // a list and no recursion: references may chain for long
      const Open next = open_.front();
      open_.pop_front();
      root_ = next.root;
      fill(*next.node, next.path, grammar_.start(next.rule), grammar_.end(next.rule));
    }
    grammar_.finish(whole);
    return std::move(grammar_);
  }

 private:
  struct Open {
    const Node *node, *root;
    std::string path;
    Grammar::Rule rule;
  };

  /// A text of a form.
  void text(State from, std::string_view bytes, State to) {
    while (!bytes.empty()) {
      const bool space = bytes[0] == kFormSpace;
      const size_t end = space ? 1 : std::min(bytes.find(kFormSpace), bytes.size());
      const State next = grammar_.add_state();
      if (space)
        rules_.space(from, next);
      else
        rules_.literal(from, bytes.substr(0, end), next);
      bytes.remove_prefix(end);
      from = next;
    }
    grammar_.add_empty(from, to);
  }

  /// A value of the schema, by the rule that all uses of the schema share.
  void call(State from, const Node& node, const std::string& path, State to) {
    const auto [at, is_new] = known_.try_emplace(&node, -1);
    if (is_new) {
      at->second = grammar_.add_rule();
      open_.push_back({&node, root_, path, at->second});
    }
    grammar_.add_call(from, at->second, to);
  }

  void fill(const Node& node, const std::string& path, State from, State to) {
    if (node.is_boolean()) {
      if (node.get<bool>()) rules_.any_value(from, to);
      return;
    }
    if (!node.is_object()) refuse_schema(path, "expected a schema: an object, true or false");
    check_keywords(node, path);
    if (node.contains("$ref")) return fill_reference(node, path, from, to);
    for (const char* keyword : {"anyOf", "oneOf", "allOf"})
      if (node.contains(keyword)) return fill_combination(node, keyword, path, from, to);
    if (node.contains("enum") || node.contains("const")) return fill_enum(node, path, from, to);
    const std::set<std::string> types = schema_types(node, path);
    if (types.empty()) return rules_.any_value(from, to);
    for (const std::string& type : types) fill_type(node, type, path, from, to);
  }

  static void check_keywords(const Node& node, const std::string& path) {
    for (const auto& [keyword, value] : node.items()) {
      const bool known =
          is_schema_annotation(keyword) || !type_of_keyword(keyword).empty() ||
          is_one_of(keyword, {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"});
      if (!known)
        refuse_schema(path, fmt::format("the keyword {} is not supported", quote(keyword)));
    }
  }

  static void refuse_siblings(const Node& node, std::string_view keyword, const std::string& path,
                              bool type_may_stand) {
    for (const auto& [other, value] : node.items()) {
      if (other == keyword || is_schema_annotation(other) || (type_may_stand && other == "type"))
        continue;
      refuse_schema(path, fmt::format("the keywords \"{}\" and \"{}\" together are not supported",
                                      keyword, other));
    }
  }

  // --- References and combinations.

  void fill_reference(const Node& node, const std::string& path, State from, State to) {
    const Node beside = without_annotations(node, "$ref");
    const Node& target = find_schema(*root_, node["$ref"], path);
    call(from, joined_branch(beside, target, path),
         beside.empty() ? node["$ref"].get<std::string>() : path, to);
  }

  static Node without_annotations(const Node& node, std::string_view left_out) {
    Node rest = Node::object();
    for (const auto& [key, value] : node.items())
      if (key != left_out && !is_schema_annotation(key)) rest[key] = value;
    return rest;
  }

  /// anyOf, oneOf, allOf. What stands beside it joins each branch.
  void fill_combination(const Node& node, const std::string& keyword, const std::string& path,
                        State from, State to) {
    const Node& branches = node[keyword];
    if (!branches.is_array() || branches.empty())
      refuse_schema(path, fmt::format("\"{}\": expected a list of schemas", keyword));
    if (branches.size() > kMaxChoices)
      refuse_schema(path, fmt::format("\"{}\": more than {} schemas", keyword, kMaxChoices));
    const Node beside = without_annotations(node, keyword);
    if (keyword == "allOf") {
      Node joined = Node::object();
      for (const Node& branch : branches) join(joined, branch, path);
      join(joined, beside, path);
      return call(from, keep(std::move(joined), path), path, to);
    }
    std::vector<const Node*> made;
    for (const Node& branch : branches) made.push_back(&joined_branch(beside, branch, path));
    if (keyword == "oneOf") check_exclusive(made, path);
    for (size_t i = 0; i < made.size(); ++i)
      call(from, *made[i], fmt::format("{}/{}/{}", path, keyword, i), to);
  }

  /// oneOf is anyOf where no text can meet two branches; we cannot leave such texts out.
  void check_exclusive(const std::vector<const Node*>& branches, const std::string& path) {
    for (size_t i = 0; i < branches.size(); ++i)
      for (size_t j = 0; j < branches.size(); ++j)
        if (i != j && !schema_excludes(*root_, *branches[i], *branches[j], steps_))
          refuse_schema(path,
                        fmt::format("\"oneOf\": a value may meet the schemas {} and {}, which is "
                                    "not supported; \"anyOf\" allows it",
                                    std::min(i, j), std::max(i, j)));
  }

  /// A branch with what stands beside it.
  const Node& joined_branch(const Node& beside, const Node& branch, const std::string& path) {
    if (beside.empty()) return branch;
    Node joined = beside;
    join(joined, branch, path);
    return keep(std::move(joined), path);
  }

  const Node& keep(Node joined, const std::string& path) {
    made_bytes_ += joined.dump().size();
    if (made_bytes_ > kMaxSchema || made_.size() >= 1000)
      refuse_schema(path, "too many combinations of schemas");
    made_.push_back(std::move(joined));
    return made_.back();
  }

  /// Does `a` say something of the members that it does not list itself, but `b` does?
  static bool leaves_over(const Node& a, const Node& b, const char* rest, const char* listed) {
    if (!a.contains(rest) || a[rest] == true || !b.contains(listed)) return false;
    return !a.contains(listed) || a[listed] != b[listed];
  }

  /// Makes `node` what both `node` and `other` say, where one schema can say it.
  void join(Node& node, const Node& other, const std::string& path) const {
    if (!other.is_object())
      refuse_schema(path, "this schema cannot be joined with what stands beside it");
    const Node* source = &other;
    for (int hops = 0; source->contains("$ref"); ++hops) {
      refuse_siblings(*source, "$ref", path, false);
      source = &find_schema(*root_, (*source)["$ref"], path);
      if (hops > 20 || !source->is_object())
        refuse_schema(path, "this schema cannot be joined with what stands beside it");
    }
    for (const auto& [rest, listed] :
         {std::pair("additionalProperties", "properties"), std::pair("items", "prefixItems")}) {
      if (leaves_over(node, *source, rest, listed) || leaves_over(*source, node, rest, listed))
        refuse_schema(path, fmt::format("\"{}\" and \"{}\" in joined schemas are not supported",
                                        rest, listed));
    }
    for (const auto& [key, value] : source->items()) {
      if (is_schema_annotation(key)) continue;
      if (!node.contains(key)) {
        node[key] = value;
      } else if (key == "required" && node[key].is_array() && value.is_array()) {
        for (const Node& name : value) node[key].push_back(name);
      } else if (key == "properties" && node[key].is_object() && value.is_object()) {
        for (const auto& [name, schema] : value.items()) {
          if (node[key].contains(name) && node[key][name] != schema)
            refuse_schema(
                path, fmt::format("the property {} is in both of two joined schemas", quote(name)));
          node[key][name] = schema;
        }
      } else if (node[key] != value) {
        refuse_schema(path,
                      fmt::format("the keyword \"{}\" is in both of two joined schemas", key));
      }
    }
  }

  // --- Values.

  void fill_enum(const Node& node, const std::string& path, State from, State to) {
    const bool listed = node.contains("enum");
    refuse_siblings(node, listed ? "enum" : "const", path, true);
    const Node values = listed ? node["enum"] : Node::array({node["const"]});
    if (!values.is_array() || values.empty())
      refuse_schema(path, "\"enum\": expected a list of values");
    const std::set<std::string> types = schema_types(node, path);
    std::vector<std::string> texts;
    for (const Node& value : values) {
      const std::string type = type_of_value(value);
      const bool fits =
          types.empty() || types.contains(type) || (type == "integer" && types.contains("number"));
      if (fits) texts.push_back(value.dump());
    }
    grammar_.add_literals(from, texts, to);
  }

  void fill_type(const Node& node, const std::string& type, const std::string& path, State from,
                 State to) {
    if (type == "null") return rules_.literal(from, "null", to);
    if (type == "boolean") {
      rules_.literal(from, "true", to);
      return rules_.literal(from, "false", to);
    }
    if (type == "string") return fill_string(node, path, from, to);
    if (type == "array") return fill_array(node, path, from, to);
    if (type == "object") return fill_object(node, path, from, to);
    fill_number(node, type == "integer", path, from, to);
  }

  static int64_t count(const Node& node, const char* keyword, int64_t fallback,
                       const std::string& path) {
    if (!node.contains(keyword)) return fallback;
    const Node& value = node[keyword];
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxCount)
      refuse_schema(
          path, fmt::format("\"{}\": expected a whole number from 0 to {}", keyword, kMaxCount));
    return value.get<int64_t>();
  }

  void fill_string(const Node& node, const std::string& path, State from, State to) {
    const int64_t min = count(node, "minLength", 0, path);
    const int64_t max = count(node, "maxLength", JsonRules::kNoLimit, path);
    std::string pattern;
    if (node.contains("pattern")) {
      if (!node["pattern"].is_string()) refuse_schema(path, "\"pattern\": expected a string");
      pattern = node["pattern"].get<std::string>();
    } else if (node.contains("format") && node["format"].is_string()) {
      pattern = pattern_of_format(node["format"].get<std::string>());
    }
    if (!node.contains("pattern") && pattern.empty()) return rules_.string(from, min, max, to);
    const std::string where = fmt::format("schema {}/pattern", path);
    rules_.string_with(from, Regex::parse(pattern, where), min, max, to);
  }

  void fill_array(const Node& node, const std::string& path, State from, State to) {
    static const Node none = Node::array();
    const Node& first = node.contains("prefixItems") ? node["prefixItems"] : none;
    if (!first.is_array()) refuse_schema(path, "\"prefixItems\": expected a list of schemas");
    if (node.contains("uniqueItems") && node["uniqueItems"] != false)
      refuse_schema(path, "the keyword \"uniqueItems\" is not supported");
    const auto prefix = static_cast<int64_t>(first.size());
    const int64_t min = count(node, "minItems", 0, path);
    int64_t max = count(node, "maxItems", JsonRules::kNoLimit, path);
    // Items behind the listed ones only where the schema speaks of them, or must have them.
    const Node* rest = node.contains("items") ? &node["items"] : &kAny;
    const bool closed = *rest == false || (!node.contains("items") && prefix > 0 && min <= prefix);
    if (closed) max = max == JsonRules::kNoLimit ? prefix : std::min(max, prefix);

    const State open = grammar_.add_state(), close = grammar_.add_state();
    State item = grammar_.add_state();
    grammar_.add_bytes(from, '[', '[', open);
    grammar_.add_bytes(close, ']', ']', to);
    if (min == 0) grammar_.add_empty(open, close);
    if (max != 0) rules_.space(open, item);
    for (int64_t i = 0; i != max; ++i) {
      const bool listed = i < prefix;
      const State after = grammar_.add_state(), comma = grammar_.add_state();
      const auto index = static_cast<size_t>(i);
      call(item, listed ? first[index] : *rest,
           path + (listed ? fmt::format("/prefixItems/{}", i) : std::string("/items")), after);
      if (i + 1 >= min) rules_.space(after, close);
      if (i + 1 == max) break;
      grammar_.add_bytes(after, ',', ',', comma);
      const bool repeats = max == JsonRules::kNoLimit && !listed && i + 1 >= min;
      const State next = repeats ? item : grammar_.add_state();
      rules_.space(comma, next);
      item = next;
      if (repeats) break;
    }
  }

  struct Property {
    std::string name;
    const Node* schema;
    std::string path;
    bool required;
  };

  /// Listed properties in their order, then required ones that are not listed.
  std::vector<Property> properties_of(const Node& node, const Node& others,
                                      const std::string& path) const {
    std::vector<Property> list;
    std::vector<std::string> required;
    if (node.contains("required")) {
      if (!node["required"].is_array())
        refuse_schema(path, "\"required\": expected a list of names");
      for (const Node& name : node["required"]) {
        if (!name.is_string()) refuse_schema(path, "\"required\": expected a list of names");
        required.push_back(name.get<std::string>());
      }
    }
    std::set<std::string> left(required.begin(), required.end());
    if (node.contains("properties")) {
      if (!node["properties"].is_object())
        refuse_schema(path, "\"properties\": expected an object");
      for (const auto& [name, schema] : node["properties"].items())
        list.push_back(
            {name, &schema, fmt::format("{}/properties/{}", path, name), left.erase(name) > 0});
    }
    for (const std::string& name : required)
      if (left.erase(name) > 0)
        list.push_back({name, &others, path + "/additionalProperties", true});
    return list;
  }

  void fill_object(const Node& node, const std::string& path, State from, State to) {
    // Properties that are not listed: as the schema says, else only where it lists none at all.
    const bool closed = node.contains("unevaluatedProperties");
    const bool given = node.contains("additionalProperties");
    const Node* others = given ? &node["additionalProperties"] : closed ? &kNothing : &kAny;
    const bool listed = node.contains("properties") || node.contains("required");
    const bool open_ended = *others != false && (given || !listed);
    const std::vector<Property> properties = properties_of(node, *others, path);
    if (properties.size() > kMaxChoices)
      refuse_schema(path, fmt::format("more than {} properties", kMaxChoices));
    const int64_t required = std::count_if(properties.begin(), properties.end(),
                                           [](const Property& p) { return p.required; });
    int64_t least = count(node, "minProperties", 0, path);
    const int64_t most = count(node, "maxProperties", JsonRules::kNoLimit, path);
    if (least <= required) least = 0;
    if (least > 1 && open_ended)
      refuse_schema(path,
                    "\"minProperties\" above 1 is not supported where properties need not be "
                    "listed: a name may come twice");
    // A row for each number of properties written: up to `most`, or to `least` and more than that.
    const bool limited = most != JsonRules::kNoLimit;
    const int64_t rows = !limited     ? least
                         : open_ended ? most
                                      : std::min(most, std::ssize(properties));
    const State open = grammar_.add_state(), close = grammar_.add_state();
    grammar_.add_bytes(from, '{', '{', open);
    grammar_.add_bytes(close, '}', '}', to);
    // key[i]: a property from number i on must follow; after[i]: one from before i has been
    // written.
    PropertyRow row = add_row(properties.size());
    rules_.space(open, row.key[0]);
    if (required == 0 && least == 0) grammar_.add_empty(open, close);
    for (int64_t written = 0; written <= rows; ++written) {
      PropertyRow next = written < rows ? add_row(properties.size()) : row;
      const bool may_add = !limited || written < most;
      bool may_close = written >= least;
      for (size_t i = properties.size() + 1; i-- > 0;) {
        if (i < properties.size()) {
          if (may_add) add_property(properties[i], row.key[i], next.after[i + 1]);
          if (!properties[i].required) grammar_.add_empty(row.key[i], row.key[i + 1]);
          may_close = may_close && !properties[i].required;
        }
        if (may_close) rules_.space(row.after[i], close);
      }
      if (open_ended && may_add)
        add_others(properties, *others, path, row.key.back(), next.after.back());
      row = std::move(next);
    }
  }

  struct PropertyRow {
    std::vector<State> key, after;
  };

  PropertyRow add_row(size_t properties) {
    PropertyRow row;
    for (size_t i = 0; i <= properties; ++i) {
      row.key.push_back(grammar_.add_state());
      row.after.push_back(grammar_.add_state());
      const State comma = grammar_.add_state();
      grammar_.add_bytes(row.after[i], ',', ',', comma);
      rules_.space(comma, row.key[i]);
    }
    return row;
  }

  void add_property(const Property& property, State from, State to) {
    const State colon = grammar_.add_state(), value = grammar_.add_state();
    rules_.literal(from, Node(property.name).dump() + ":", colon);
    rules_.space(colon, value);
    call(value, *property.schema, property.path, to);
  }

  void add_others(const std::vector<Property>& properties, const Node& schema,
                  const std::string& path, State from, State to) {
    std::vector<std::string> names;
    names.reserve(properties.size());
    for (const Property& property : properties) names.push_back(property.name);
    const State colon = grammar_.add_state(), before = grammar_.add_state();
    const State value = grammar_.add_state();
    rules_.string_except(from, names, colon);
    grammar_.add_bytes(colon, ':', ':', before);
    rules_.space(before, value);
    call(value, schema, path + "/additionalProperties", to);
  }

  // --- Numbers.

  void fill_number(const Node& node, bool whole, const std::string& path, State from, State to) {
    NumberRange range;
    bool bounded = false;
    const auto read = [&](const char* keyword, std::optional<Decimal>& bound, bool& strict,
                          bool makes_strict, bool is_low) {
      if (!node.contains(keyword)) return;
      const Node& value = node[keyword];
      if (!value.is_number())
        refuse_schema(path, fmt::format("\"{}\": expected a number", keyword));
      if (bounded && bound) {  // minimum and exclusiveMinimum: the stricter one
        const auto now = node[is_low ? "minimum" : "maximum"].get<double>();
        const auto other = value.get<double>();
        if (is_low ? other < now : other > now) return;
      }
      bound = decimal(value, keyword, path);
      strict = makes_strict;
      bounded = true;
    };
    read("minimum", range.low, range.above_low, false, true);
    read("exclusiveMinimum", range.low, range.above_low, true, true);
    read("maximum", range.high, range.below_high, false, false);
    read("exclusiveMaximum", range.high, range.below_high, true, false);
    if (node.contains("multipleOf"))
      fill_multiples(node, range, path, from, to);
    else if (bounded)
      rules_.number_in(from, whole, range, to);
    else
      rules_.number(from, whole, to);
  }

  /// Multiples of a whole number, which are whole themselves.
  void fill_multiples(const Node& node, const NumberRange& range, const std::string& path,
                      State from, State to) {
    const Node& of = node["multipleOf"];
    constexpr double kMaxMultiple = 1000;
    const auto value = of.is_number() ? of.get<double>() : 0.0;
    if (!(value >= 1 && value <= kMaxMultiple) || value != std::floor(value))
      refuse_schema(
          path, fmt::format("\"multipleOf\": expected a whole number from 1 to {}", kMaxMultiple));
    if (!rules_.multiples(from, static_cast<int64_t>(value), range, to))
      refuse_schema(path,
                    "\"multipleOf\" is supported with no bound, a minimum of 0, or two bounds with "
                    "at most 1000 multiples between them");
  }

  /// The digits of a number; at most 18 before the point and 15 behind it.
  static Decimal decimal(const Node& value, const char* keyword, const std::string& path) {
    std::string text;
    if (value.is_number_integer()) {
      text = value.dump();
    } else {
      const auto number = value.get<double>();
      for (int places = 0; places <= 15 && std::abs(number) < 1e15; ++places) {
        text = fmt::format("{:.{}f}", number, places);
        if (std::stod(text) == number) break;
        text.clear();
      }
    }
    Decimal digits;
    digits.negative = text.starts_with('-');
    if (digits.negative) text.erase(0, 1);
    digits.whole = text.substr(0, text.find('.'));
    if (text.find('.') != std::string::npos) digits.fraction = text.substr(text.find('.') + 1);
    if (text.empty() || digits.whole.size() > 18)
      refuse_schema(
          path, fmt::format("\"{}\": expected a number of at most 18 digits before the point and "
                            "15 behind it, found {}",
                            keyword, value.dump()));
    return digits;
  }

  static const Node kAny, kNothing;

  std::deque<Node> roots_;      // the schemas; their addresses are keys of known_
  const Node* root_ = nullptr;  // where references of the present one begin
  Grammar grammar_;
  JsonRules rules_;
  std::unordered_map<const Node*, Grammar::Rule> known_;
  std::deque<Open> open_;
  std::deque<Node> made_;  // joined schemas; their addresses are keys of known_
  size_t made_bytes_ = 0;
  int64_t steps_ = 0;  // of comparing schemas
};

const Node Compiler::kAny = Node(true), Compiler::kNothing = Node(false);

}  // namespace

Grammar form_grammar(const JsonForm& form) {
  return Compiler().compile(form);
}

Grammar schema_grammar(std::string_view schema) {
  return form_grammar({.pieces = {{std::string(1, kFormSpace), std::string(schema), {}}}});
}

}  // namespace um
