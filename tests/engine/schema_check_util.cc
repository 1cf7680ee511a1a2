// See schema_check_util.h.
#include "tests/engine/schema_check_util.h"

#include <cmath>
#include <regex>

namespace um {
namespace {

using Json = nlohmann::json;

}  // namespace

std::wstring wide(const std::string& text) {
  std::wstring out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) == 0x80)
      out.back() = static_cast<wchar_t>(out.back() << 6 | (byte & 0x3f));
    else
      out += static_cast<wchar_t>(byte < 0x80   ? byte
                                  : byte < 0xe0 ? byte & 0x1f
                                                : byte & (byte < 0xf0 ? 0x0f : 0x07));
  }
  return out;
}

namespace {

size_t characters(const std::string& text) {
  return wide(text).size();
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return value.type_name() == type;
}

std::string check_string(const Json& schema, const std::string& text) {
  if (characters(text) < schema.value("minLength", 0u)) return "too short";
  if (schema.contains("maxLength") && characters(text) > schema["maxLength"]) return "too long";
  if (schema.contains("pattern") &&
      !std::regex_search(wide(text), std::wregex(wide(schema["pattern"].get<std::string>()))))
    return "does not match";
  return {};
}

std::string check_number(const Json& schema, double x) {
  if (schema.contains("minimum") && x < schema["minimum"].get<double>()) return "too small";
  if (schema.contains("maximum") && x > schema["maximum"].get<double>()) return "too large";
  if (schema.contains("exclusiveMinimum") && x <= schema["exclusiveMinimum"].get<double>())
    return "at the lower bound";
  if (schema.contains("exclusiveMaximum") && x >= schema["exclusiveMaximum"].get<double>())
    return "at the upper bound";
  if (schema.contains("multipleOf")) {
    const double times = x / schema["multipleOf"].get<double>();
    if (std::abs(times - std::round(times)) > 1e-9 * std::max(1.0, std::abs(times)))
      return "is no multiple";
  }
  return {};
}

bool fits(const Json& root, const Json& schema, const Json& value) {
  return schema_fault(root, schema, value).empty();
}

/// Whether `contains` of the schema, or of its allOf, counts the item.
bool is_contained(const Json& root, const Json& schema, const Json& item) {
  bool found = schema.contains("contains") && fits(root, schema["contains"], item);
  for (const Json& branch : schema.value("allOf", Json::array()))
    found = found || is_contained(root, branch, item);
  return found;
}

std::string check_array(const Json& root, const Json& schema, const Json& value,
                        const std::string& path) {
  if (value.size() < schema.value("minItems", 0u)) return "too few items";
  if (schema.contains("maxItems") && value.size() > schema["maxItems"]) return "too many items";
  const bool list = schema.contains("items") && schema["items"].is_array();
  const Json prefix = list ? schema["items"] : schema.value("prefixItems", Json::array());
  const Json rest = schema.value(list ? "additionalItems" : "items", Json(true));
  size_t found = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string fault = schema_fault(root, i < prefix.size() ? prefix[i] : rest, value[i],
                                           path + "[" + std::to_string(i) + "]");
    if (!fault.empty()) return fault;
    for (size_t j = 0; j < i && schema.value("uniqueItems", false); ++j)
      if (value[i] == value[j]) return "has an item twice";
    if (schema.contains("unevaluatedItems") && i >= prefix.size() &&
        !is_contained(root, schema, value[i]) && !fits(root, schema["unevaluatedItems"], value[i]))
      return "has an item that nothing allows";
    found += schema.contains("contains") && fits(root, schema["contains"], value[i]) ? 1 : 0;
  }
  if (schema.contains("contains") && found < schema.value("minContains", 1u))
    return "lacks an item";
  if (schema.contains("maxContains") && found > schema["maxContains"]) return "has too many such";
  return {};
}

std::string check_member(const Json& root, const Json& schema, const std::string& name,
                         const Json& member, const std::string& path) {
  bool listed = schema.contains("properties") && schema["properties"].contains(name);
  std::string fault;
  if (listed) fault = schema_fault(root, schema["properties"][name], member, path);
  const Json patterns = schema.value("patternProperties", Json::object());
  for (const auto& [pattern, rule] : patterns.items()) {
    if (!std::regex_search(wide(name), std::wregex(wide(pattern)))) continue;
    listed = true;
    if (fault.empty()) fault = schema_fault(root, rule, member, path);
  }
  if (!listed)
    fault = schema_fault(root, schema.value("additionalProperties", Json(true)), member, path);
  return fault;
}

std::string check_object(const Json& root, const Json& schema, const Json& value,
                         const std::string& path) {
  if (value.size() < schema.value("minProperties", 0u)) return "has too few properties";
  if (schema.contains("maxProperties") && value.size() > schema["maxProperties"])
    return "has too many properties";
  for (const Json& name : schema.value("required", Json::array()))
    if (!value.contains(name.get<std::string>())) return "lacks " + name.dump();
  for (const auto& [name, member] : value.items()) {
    const std::string fault = check_member(root, schema, name, member, path + "." + name);
    if (!fault.empty()) return fault;
    if (schema.contains("propertyNames") && !fits(root, schema["propertyNames"], name))
      return "has a wrong name";
  }
  for (const char* keyword : {"dependencies", "dependentRequired", "dependentSchemas"}) {
    const Json dependent = schema.value(keyword, Json::object());
    for (const auto& [name, rest] : dependent.items()) {
      if (!value.contains(name)) continue;
      if (rest.is_array() && !fits(root, {{"required", rest}}, value)) return "lacks what depends";
      if (!rest.is_array() && !fits(root, rest, value)) return "fits not what depends";
    }
  }
  return {};
}

std::string check_type(const Json& schema, const Json& value) {
  if (!schema.contains("type")) return {};
  const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
  for (const Json& type : types)
    if (has_type(value, type)) return {};
  return "has another type";
}

}  // namespace

std::string schema_fault(const Json& root, const Json& schema, const Json& value,
                         const std::string& path) {
  const auto at = [&](const std::string& what) { return what.empty() ? what : path + " " + what; };
  if (schema.is_boolean()) return schema.get<bool>() ? "" : at("is forbidden");
  if (schema.contains("$ref")) {
    const auto pointer = Json::json_pointer(schema["$ref"].get<std::string>().substr(1));
    const std::string fault = schema_fault(root, root.at(pointer), value, path);
    if (!fault.empty()) return fault;
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    if (!schema.contains(keyword)) continue;
    int fits = 0;
    for (const Json& branch : schema[keyword])
      fits += schema_fault(root, branch, value, path).empty() ? 1 : 0;
    if (fits == 0) return at("fits no branch");
    if (fits > 1 && std::string(keyword) == "oneOf") return at("fits several branches");
  }
  for (const Json& branch : schema.value("allOf", Json::array()))
    if (const std::string fault = schema_fault(root, branch, value, path); !fault.empty())
      return fault;
  if (schema.contains("not") && fits(root, schema["not"], value)) return at("fits \"not\"");
  if (schema.contains("if")) {
    const char* branch = fits(root, schema["if"], value) ? "then" : "else";
    if (schema.contains(branch) && !fits(root, schema[branch], value))
      return at("fits not " + std::string(branch));
  }
  if (schema.contains("const") && value != schema["const"]) return at("is not the constant");
  if (schema.contains("enum")) {
    bool found = false;
    for (const Json& one : schema["enum"]) found = found || one == value;
    if (!found) return at("is none of the values");
  }
  std::string fault = at(check_type(schema, value));
  if (fault.empty() && value.is_string()) fault = at(check_string(schema, value));
  if (fault.empty() && value.is_number()) fault = at(check_number(schema, value));
  if (fault.empty() && value.is_array()) fault = at(check_array(root, schema, value, path));
  if (fault.empty() && value.is_object()) fault = at(check_object(root, schema, value, path));
  return fault;
}

}  // namespace um
