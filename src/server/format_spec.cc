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
FormatSpec response_format(const Body& body, const std::string& name) {
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
FormatSpec structured_outputs(const Body& body, const std::string& name) {
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

FormatSpec json_field(const Body& body, const std::string& name) {
  return schema_format(body, "/" + name);
}

FormatSpec regex_field(const Body& body, const std::string& name) {
  return regex_format(body.json[name], name);
}

FormatSpec choice_field(const Body& body, const std::string& name) {
  return choice_format(body.json[name], name);
}

}  // namespace

FormatSpec parse_format(const Body& body) {
  using Read = FormatSpec (*)(const Body& body, const std::string& name);
  static constexpr std::pair<const char*, Read> kFields[] = {
      {"structured_outputs", structured_outputs},
      {"json_schema", json_field},
      {"guided_json", json_field},
      {"regex", regex_field},
      {"guided_regex", regex_field},
      {"guided_choice", choice_field},
      {"response_format", response_format}};
  FormatSpec format;
  for (const auto& [name, read] : kFields) {
    if (field_of(body.json, name) == nullptr) continue;
    FormatSpec one = read(body, name);
    if (one.kind == FormatSpec::kText) continue;
    // That it is an object says nothing more beside a schema.
    if (format.kind == FormatSpec::kJsonSchema && one.kind == FormatSpec::kJsonObject) continue;
    const bool closer =
        format.kind == FormatSpec::kJsonObject && one.kind == FormatSpec::kJsonSchema;
    if (!format.field.empty() && !closer)
      bad_field(name, "there is {} too: give one of them", format.field);
    format = std::move(one);
    format.field = name;
  }
  return format;
}

}  // namespace um
