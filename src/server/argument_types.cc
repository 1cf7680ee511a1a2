// See argument_types.h.
#include "server/argument_types.h"

#include <array>
#include <cmath>

#include "server/call_form.h"
#include "server/literal.h"

namespace um {
namespace {

enum Type : unsigned {
  kString = 1,
  kInteger = 2,
  kNumber = 4,
  kBoolean = 8,
  kNull = 16,
  kArray = 32,
  kObject = 64,
  kAll = 127
};

constexpr int kMaxDepth = 8;

constexpr std::array<std::pair<std::string_view, unsigned>, 7> kTypes = {{{"string", kString},
                                                                          {"integer", kInteger},
                                                                          {"number", kNumber},
                                                                          {"boolean", kBoolean},
                                                                          {"null", kNull},
                                                                          {"array", kArray},
                                                                          {"object", kObject}}};

unsigned named_type(const Json& name) {
  for (const auto& [text, type] : kTypes)
    if (name == text) return type;
  return 0;
}

unsigned type_of(const Json& value) {
  if (value.is_string()) return kString;
  if (value.is_number_integer()) return kInteger | kNumber;
  if (value.is_number()) {
    const double number = value.get<double>();
    return std::floor(number) == number ? kInteger | kNumber : kNumber;
  }
  if (value.is_boolean()) return kBoolean;
  if (value.is_null()) return kNull;
  return value.is_array() ? kArray : kObject;
}

/// JSON for a constant of Python.
std::string_view constant(std::string_view text) {
  return text == "True" ? "true" : text == "False" ? "false" : text == "None" ? "null" : text;
}

}  // namespace

ArgumentTypes::ArgumentTypes(std::string_view parameters)
    : root_(Json::parse(parameters, nullptr, false)) {}

/// What `schema` allows; kAll where it does not say.
unsigned ArgumentTypes::types(const Json& schema, int depth) const {
  if (!schema.is_object() || depth > kMaxDepth) return kAll;
  unsigned allowed = kAll;
  const auto any = [&](const Json& list, auto each) {
    unsigned some = 0;
    for (const auto& entry : list) some |= each(entry);
    allowed &= some;
  };
  const auto below = [&](const Json& entry) { return types(entry, depth + 1); };
  if (schema.contains("type") && schema["type"].is_array())
    any(schema["type"], named_type);
  else if (schema.contains("type"))
    allowed &= named_type(schema["type"]);
  if (schema.contains("enum") && schema["enum"].is_array()) any(schema["enum"], type_of);
  if (schema.contains("const")) allowed &= type_of(schema["const"]);
  for (const char* keyword : {"anyOf", "oneOf"})
    if (schema.contains(keyword) && schema[keyword].is_array()) any(schema[keyword], below);
  if (schema.contains("allOf") && schema["allOf"].is_array())
    for (const auto& entry : schema["allOf"]) allowed &= below(entry);
  if (schema.contains("nullable") && schema["nullable"] == true) allowed |= kNull;
  if (!schema.contains("$ref") || !schema["$ref"].is_string()) return allowed;
  const std::string path = schema["$ref"];
  if (!path.starts_with('#')) return allowed;
  try {
    return allowed & below(root_.at(Json::json_pointer(path.substr(1))));
  } catch (const nlohmann::json::exception&) {
    return allowed;
  }
}

/// Behind references; null where they lead nowhere.
const Json* ArgumentTypes::resolved(const Json* schema) const {
  for (int depth = 0; schema != nullptr && depth < kMaxDepth; ++depth) {
    if (!schema->is_object()) return nullptr;
    if (!schema->contains("$ref")) return schema;
    const Json& to = (*schema)["$ref"];
    if (!to.is_string() || !to.get<std::string>().starts_with('#')) return nullptr;
    try {
      schema = &root_.at(Json::json_pointer(to.get<std::string>().substr(1)));
    } catch (const nlohmann::json::exception&) {
      return nullptr;
    }
  }
  return nullptr;
}

ArgumentTypes::Place ArgumentTypes::place(const std::string& name) const {
  return member({&root_}, name);
}

ArgumentTypes::Place ArgumentTypes::member(Place place, const std::string& name) const {
  const Json* schema = resolved(place.schema);
  if (schema == nullptr) return {};
  if (schema->contains("properties") && (*schema)["properties"].is_object()) {
    const Json& properties = (*schema)["properties"];
    if (properties.contains(name)) return {&properties[name]};
  }
  if (!schema->contains("additionalProperties")) return {};
  return {&(*schema)["additionalProperties"]};
}

ArgumentTypes::Place ArgumentTypes::element(Place place) const {
  const Json* schema = resolved(place.schema);
  if (schema == nullptr || !schema->contains("items")) return {};
  return {&(*schema)["items"]};
}

unsigned ArgumentTypes::types_of(Place place) const {
  const unsigned found = place.schema == nullptr ? unsigned{kAll} : types(*place.schema, 0);
  return found == 0 ? kAll : found;
}

bool ArgumentTypes::only_text(const std::string& name) const {
  return types_of(place(name)) == kString;
}

bool ArgumentTypes::may_be_text(const std::string& name) const {
  return (types_of(place(name)) & kString) != 0;
}

std::string ArgumentTypes::json(const std::string& name, std::string_view written) const {
  return json(place(name), written);
}

std::string ArgumentTypes::json(Place place, std::string_view written) const {
  const unsigned allowed = types_of(place);
  const std::string_view text = constant(trimmed(written));
  const Json value = allowed == kString ? Json() : Json::parse(text, nullptr, false);
  const bool fits = !value.is_discarded() && !value.is_string() && (type_of(value) & allowed) != 0;
  if (fits) return std::string(text);
  if (text.empty() && (allowed & kString) == 0 && (allowed & (kArray | kObject)) != 0)
    return (allowed & kArray) != 0 ? "[]" : "{}";  // marks with nothing between
  // Templates write values as Python's str() does; what may be a text is one.
  const auto literal = (allowed & kString) != 0 ? std::nullopt : literal_json(text);
  if (literal && (type_of(Json::parse(*literal)) & allowed) != 0) return *literal;
  return to_text(std::string(written));
}

}  // namespace um
