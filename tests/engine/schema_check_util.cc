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
  if (schema.contains("multipleOf") && std::fmod(x, schema["multipleOf"].get<double>()) != 0)
    return "is no multiple";
  return {};
}

std::string check_array(const Json& root, const Json& schema, const Json& value,
                        const std::string& path) {
  if (value.size() < schema.value("minItems", 0u)) return "too few items";
  if (schema.contains("maxItems") && value.size() > schema["maxItems"]) return "too many items";
  const Json prefix = schema.value("prefixItems", Json::array());
  for (size_t i = 0; i < value.size(); ++i) {
    const Json item = i < prefix.size() ? prefix[i] : schema.value("items", Json(true));
    const std::string fault =
        schema_fault(root, item, value[i], path + "[" + std::to_string(i) + "]");
    if (!fault.empty()) return fault;
  }
  return {};
}

std::string check_object(const Json& root, const Json& schema, const Json& value,
                         const std::string& path) {
  if (value.size() < schema.value("minProperties", 0u)) return "has too few properties";
  if (schema.contains("maxProperties") && value.size() > schema["maxProperties"])
    return "has too many properties";
  for (const Json& name : schema.value("required", Json::array()))
    if (!value.contains(name.get<std::string>())) return "lacks " + name.dump();
  for (const auto& [name, member] : value.items()) {
    Json rule = schema.value("additionalProperties", Json(true));
    if (schema.contains("properties") && schema["properties"].contains(name))
      rule = schema["properties"][name];
    const std::string fault = schema_fault(root, rule, member, path + "." + name);
    if (!fault.empty()) return fault;
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
    return schema_fault(root, root.at(pointer), value, path);
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
