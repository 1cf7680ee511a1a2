// What an answer is held to: OpenAI's response_format and the other servers' spellings (request.h).
#include "server/field_reader.h"
#include "server/request.h"

namespace um {
namespace {

void check_schema_text(const std::string& text, const std::string& field) {
  try {
    const Json schema = parse_json(text, field);
    if (!schema.is_object() && !schema.is_boolean())
      wrong_type(field, "a JSON schema, or one as text", schema);
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    throw ApiError(400, error.what(), field);
  }
}

/// The schema at this place of the body, as text; a string holds it as text already.
FormatSpec schema_format(const Body& body, const std::string& pointer) {
  const Json& schema = body.json.at(Json::json_pointer(pointer));
  FormatSpec format{.kind = FormatSpec::kJsonSchema};
  if (schema.is_string()) {
    format.schema = schema.get<std::string>();
    check_schema_text(format.schema, pointer.substr(1));
  } else if (schema.is_object() || schema.is_boolean()) {
    format.schema = body.ordered.at(nlohmann::ordered_json::json_pointer(pointer)).dump();
  } else {
    bad_field(pointer.substr(1), "expected a JSON schema, found {}", describe(schema));
  }
  return format;
}

FormatSpec regex_format(const Json& regex, const std::string& field) {
  if (!regex.is_string()) bad_field(field, "expected a string, found {}", describe(regex));
  return {.kind = FormatSpec::kRegex, .regex = regex.get<std::string>()};
}

FormatSpec choice_format(const Json& choices, const std::string& field) {
  FormatSpec format{.kind = FormatSpec::kChoice};
  if (!choices.is_array() || choices.empty() || choices.size() > 4096)
    bad_field(field, "expected a list of 1 to 4096 strings, found {}", describe(choices));
  for (const Json& choice : choices) {
    if (!choice.is_string()) bad_field(field, "expected strings, found {}", describe(choice));
    format.choices.push_back(choice.get<std::string>());
  }
  return format;
}

/// OpenAI's response_format.
FormatSpec response_format(const Body& body) {
  const std::string name = "response_format";
  const Json& json = body.json[name];
  if (!json.is_object()) bad_field(name, "expected an object, found {}", describe(json));
  std::string type;
  read_field_of(name, json, "type", type);
  if (type == "text") return {};
  if (type == "json_object") {
    if (field_of(json, "schema") != nullptr) return schema_format(body, "/response_format/schema");
    return {.kind = FormatSpec::kJsonObject};
  }
  if (type == "json_schema") {
    const Json* wrapped = field_of(json, "json_schema");
    if (wrapped == nullptr || !wrapped->is_object())
      bad_field(name, "type json_schema needs an object \"json_schema\"");
    if (field_of(*wrapped, "schema") == nullptr) bad_field(name, "json_schema has no \"schema\"");
    return schema_format(body, "/response_format/json_schema/schema");
  }
  bad_field(name, "type {}: expected text, json_object or json_schema", quote(type));
}

/// vLLM's structured_outputs.
FormatSpec structured_outputs(const Body& body) {
  const std::string name = "structured_outputs";
  const Json& wrapped = body.json[name];
  if (!wrapped.is_object()) bad_field(name, "expected an object, found {}", describe(wrapped));
  const auto given = [&](const char* kind) { return field_of(wrapped, kind) != nullptr; };
  if (given("json") + given("regex") + given("choice") > 1)
    bad_field(name, "expected one of json, regex and choice, found several");
  if (given("json")) return schema_format(body, "/structured_outputs/json");
  if (const Json* regex = field_of(wrapped, "regex")) return regex_format(*regex, name + ".regex");
  if (const Json* choice = field_of(wrapped, "choice"))
    return choice_format(*choice, name + ".choice");
  bool object = false;
  read_field_of(name, wrapped, "json_object", object);
  if (object) return {.kind = FormatSpec::kJsonObject};
  bad_field(name, "expected one of json, regex, choice, json_object");
}

/// An answer has one form.
void refuse_several(const Json& body) {
  const char* first = nullptr;
  for (const char* name : {"structured_outputs", "json_schema", "guided_json", "regex",
                           "guided_regex", "guided_choice", "response_format"}) {
    const Json* field = field_of(body, name);
    if (field == nullptr) continue;
    const bool text = name == std::string_view("response_format") && field->is_object() &&
                      field->value("type", Json()) == "text";
    if (text) continue;
    if (first != nullptr) bad_field(name, "there is {} too: give one of them", first);
    first = name;
  }
}

}  // namespace

FormatSpec parse_format(const Body& body) {
  refuse_several(body.json);
  const auto given = [&](const char* name) { return field_of(body.json, name); };
  const auto named = [](FormatSpec format, const char* name) {
    format.field = name;
    return format;
  };
  if (given("structured_outputs") != nullptr)
    return named(structured_outputs(body), "structured_outputs");
  for (const char* name : {"json_schema", "guided_json"})
    if (given(name) != nullptr) return named(schema_format(body, std::string("/") + name), name);
  for (const char* name : {"regex", "guided_regex"})
    if (const Json* regex = given(name)) return named(regex_format(*regex, name), name);
  if (const Json* choice = given("guided_choice"))
    return named(choice_format(*choice, "guided_choice"), "guided_choice");
  if (given("response_format") != nullptr) return named(response_format(body), "response_format");
  return {};
}

}  // namespace um
