// See schema_facts.h.
#include "engine/grammar/schema_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

using Node = SchemaNode;

constexpr int64_t kMaxSteps = 5'000'000;  // less than a second
constexpr int kMaxHops = 8;               // of references and nesting, where schemas are compared

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool tilde = text[i] == '~' && i + 1 < text.size();
    if (tilde && (text[i + 1] == '0' || text[i + 1] == '1')) {
      out += text[++i] == '0' ? '~' : '/';
    } else if (text[i] == '%' && i + 2 < text.size() &&
               std::isxdigit(static_cast<uint8_t>(text[i + 1])) != 0 &&
               std::isxdigit(static_cast<uint8_t>(text[i + 2])) != 0) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

void refuse_schema(const std::string& path, std::string_view what) {
  throw UsageError(fmt::format("schema {}: {}", path, what));
}

bool is_schema_annotation(std::string_view keyword) {
  return is_one_of(keyword,
                   {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description",
                    "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
                    "contentEncoding", "contentMediaType", "discriminator"}) ||
         keyword.starts_with("x-");
}

std::string_view type_of_keyword(std::string_view keyword) {
  if (is_one_of(keyword, {"properties", "required", "additionalProperties", "unevaluatedProperties",
                          "minProperties", "maxProperties"}))
    return "object";
  if (is_one_of(keyword, {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}))
    return "array";
  if (is_one_of(keyword, {"minLength", "maxLength", "pattern", "format"})) return "string";
  if (is_one_of(keyword,
                {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}))
    return "number";
  return {};
}

std::string type_of_value(const Node& value) {
  if (value.is_number_integer()) return "integer";
  return value.type_name();
}

std::set<std::string> schema_types(const SchemaNode& node, const std::string& path) {
  std::set<std::string> types;
  if (!node.contains("type")) {
    for (const auto& [keyword, value] : node.items())
      if (const auto type = type_of_keyword(keyword); !type.empty()) types.emplace(type);
    return types;
  }
  const Node& type = node["type"];
  const Node list = type.is_array() ? type : Node::array({type});
  for (const Node& name : list) {
    if (!name.is_string() ||
        !is_one_of(name.get<std::string>(),
                   {"object", "array", "string", "number", "integer", "boolean", "null"}))
      refuse_schema(path,
                    "\"type\": expected object, array, string, number, integer, boolean or null");
    types.insert(name.get<std::string>());
  }
  if (types.empty()) refuse_schema(path, "\"type\": expected a type or a list of types");
  if (types.contains("number")) types.erase("integer");
  return types;
}

const SchemaNode& find_schema(const SchemaNode& root, const SchemaNode& reference,
                              const std::string& path) {
  if (!reference.is_string()) refuse_schema(path, "\"$ref\": expected a string");
  const auto target = reference.get<std::string>();
  if (target != "#" && !target.starts_with("#/"))
    refuse_schema(path,
                  fmt::format("the reference {} is not supported; expected #/...", quote(target)));
  const Node* at = &root;
  std::string_view rest = std::string_view(target).substr(1);
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string key = unescape(rest.substr(0, end));
    rest.remove_prefix(end);
    const Node* next = nullptr;
    if (at->is_object() && at->contains(key)) next = &(*at)[key];
    if (at->is_array() && !key.empty() && key.size() < 6 &&
        key.find_first_not_of("0123456789") == std::string::npos &&
        static_cast<size_t>(std::stoi(key)) < at->size())
      next = &(*at)[static_cast<size_t>(std::stoi(key))];
    if (next == nullptr)
      refuse_schema(path, fmt::format("the reference {} leads nowhere", quote(target)));
    at = next;
  }
  return *at;
}

namespace {

/// Types with integers among the numbers: 1.0 is both.
std::set<std::string> broad(std::set<std::string> types) {
  if (types.erase("integer") > 0) types.insert("number");
  return types;
}

bool meet(const std::set<std::string>& a, const std::set<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&](const std::string& type) { return b.contains(type); });
}

using Values = std::vector<const Node*>;

/// The values of `enum` or `const`; none if there is neither.
Values values_of(const Node& node) {
  Values values;
  if (node.contains("enum") && node["enum"].is_array())
    for (const Node& value : node["enum"]) values.push_back(&value);
  else if (node.contains("const"))
    values.push_back(&node["const"]);
  return values;
}

std::set<std::string> types_of_values(const Values& values) {
  std::set<std::string> types;
  for (const Node* value : values) types.insert(type_of_value(*value));
  return broad(types);
}

/// The schema of a listed property, or null.
const Node* property_of(const Node& node, const std::string& name) {
  if (!node.contains("properties") || !node["properties"].is_object()) return nullptr;
  const auto at = node["properties"].find(name);
  return at == node["properties"].end() ? nullptr : &*at;
}

size_t properties_of(const Node& node) {
  return node.contains("properties") ? node["properties"].size() : 0;
}

std::set<std::string> required_of(const Node& node) {
  std::set<std::string> names;
  if (node.contains("required") && node["required"].is_array())
    for (const Node& name : node["required"])
      if (name.is_string()) names.insert(name.get<std::string>());
  return names;
}

class Exclusion {
 public:
  Exclusion(const Node& root, int64_t& steps) : root_(root), steps_(steps) {}

  /// `whole`: `made` alone says what is written, no other schema beside it.
  bool holds(const Node& made, const Node& other, bool whole, int hops) {
    if (!pay(20 + made.size() + other.size()) || hops > kMaxHops) return false;
    if (made == false || other == false) return true;
    if (!made.is_object() || !other.is_object()) return false;
    if (by_itself(made, other, whole && is_plain(made), hops)) return true;
    return by_parts(made, [&](const Node& part,
                              bool all) { return holds(part, other, whole && all, hops + 1); }) ||
           by_parts(other,
                    [&](const Node& part, bool) { return holds(made, part, whole, hops + 1); });
  }

 private:
  /// False once too much was done.
  bool pay(size_t cost) {
    steps_ += static_cast<int64_t>(cost);
    return steps_ <= kMaxSteps;
  }

  static bool is_plain(const Node& node) {
    return !node.contains("$ref") && !node.contains("anyOf") && !node.contains("oneOf") &&
           !node.contains("allOf");
  }

  /// Whether it follows from what a schema consists of: one part that must hold, or all of those of
  /// which one must. `test` also gets whether the part is all that the schema says.
  template <class Test>
  bool by_parts(const Node& node, Test test) {
    const auto keywords =
        std::count_if(node.items().begin(), node.items().end(),
                      [](const auto& item) { return !is_schema_annotation(item.key()); });
    const bool all = keywords == 1;
    if (node.contains("$ref") && test(find_schema(root_, node["$ref"], "#"), all)) return true;
    for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
      if (!node.contains(keyword) || !node[keyword].is_array() || node[keyword].empty()) continue;
      const Node& parts = node[keyword];
      const auto one = [&](const Node& part) {
        return test(part, all && (keyword != std::string_view("allOf") || parts.size() == 1));
      };
      if (keyword == std::string_view("allOf") ? std::any_of(parts.begin(), parts.end(), one)
                                               : std::all_of(parts.begin(), parts.end(), one))
        return true;
    }
    return false;
  }

  bool by_itself(const Node& made, const Node& other, bool whole, int hops) {
    const auto types =
        made.contains("type") || whole ? broad(schema_types(made, "#")) : std::set<std::string>();
    const auto other_types =
        other.contains("type") ? broad(schema_types(other, "#")) : std::set<std::string>();
    if (!types.empty() && !other_types.empty() && !meet(types, other_types)) return true;
    const Values values = values_of(made), other_values = values_of(other);
    if (!pay(values.size() + other_values.size() + values.size() * other_values.size()))
      return false;
    if (!values.empty() && !other_values.empty())
      return std::none_of(values.begin(), values.end(), [&](const Node* value) {
        return std::any_of(other_values.begin(), other_values.end(),
                           [&](const Node* other_value) { return *value == *other_value; });
      });
    if (!values.empty()) return !other_types.empty() && !meet(types_of_values(values), other_types);
    if (!other_values.empty()) return !types.empty() && !meet(types, types_of_values(other_values));
    return types == std::set<std::string>{"object"} && by_properties(made, other, whole, hops);
  }

  bool by_properties(const Node& made, const Node& other, bool whole, int hops) {
    const std::set<std::string> required = required_of(made), other_required = required_of(other);
    std::set<std::string> names = required;
    names.insert(other_required.begin(), other_required.end());
    if (!pay(names.size() * (10 + properties_of(made) + properties_of(other)))) return false;
    const bool other_closed =
        other.contains("additionalProperties") && other["additionalProperties"] == false;
    const bool listed = made.contains("properties") || made.contains("required");
    const bool closed = made.contains("additionalProperties")
                            ? made["additionalProperties"] == false
                            : listed || made.contains("unevaluatedProperties");
    for (const std::string& name : names) {
      const Node *own = property_of(made, name), *theirs = property_of(other, name);
      // A property that must be there, and cannot be right for both.
      if (own != nullptr && theirs != nullptr && holds(*own, *theirs, true, hops + 1)) return true;
      // One that is there, and that the other does not allow; or is not, and that it demands.
      if (theirs == nullptr && other_closed && required.contains(name)) return true;
      if (own == nullptr && whole && closed && !required.contains(name)) return true;
    }
    return false;
  }

  const Node& root_;
  int64_t& steps_;
};

}  // namespace

bool schema_excludes(const Node& root, const Node& made, const Node& other, int64_t& steps) {
  return Exclusion(root, steps).holds(made, other, true, 0);
}

}  // namespace um
