// See call_rules.h. The forms: docs/templates.md.
#include "server/call_rules.h"

#include <algorithm>
#include <string>

#include "core/json.h"
#include "core/ordered_json.h"
#include "server/argument_types.h"
#include "text/unicode.h"

namespace um {
namespace {

using Kind = CallForm::Kind;
using Piece = JsonForm::Piece;

const std::string kSpace(1, kFormSpace);
const std::string kId = "\"" + std::string(1, kFormId) + "\"";
static_assert(kAnyId == kFormId);  // the marks of forms stand in the rules as they are

/// Whether the form has JSON around the calls, or what looks like it: then any white space that
/// JSON has may stand there.
bool is_spaced(const CallForm& form) {
  return form.kind == Kind::kObject || form.kind == Kind::kKeyed || form.list;
}

std::string around(const CallForm& form, const std::string& text) {
  return is_spaced(form) ? std::string(trimmed(text)) : text;
}

Piece object_piece(const CallForm& form, const std::string& name) {
  const auto member = [](const std::string& key) { return json_text(key) + ":" + kSpace; };
  std::string before = "{" + kSpace;
  if (form.kind == Kind::kKeyed) return {.before = before + member(name), .after = kSpace + "}"};
  if (!form.id_key.empty()) before += member(form.id_key) + kId + "," + kSpace;
  before += member(form.name_key) + json_text(name) + "," + kSpace + member(form.arguments_key);
  Piece piece{.before = before, .after = kSpace + "}"};
  // Mistral's models write one behind the arguments.
  if (form.list && form.id_key.empty()) piece.extra = kSpace + "," + kSpace + member("id") + kId;
  return piece;
}

/// A parameter's schema with the definitions that it may refer to.
std::string parameter_schema(const OrderedJson& schema, const OrderedJson& parameters) {
  OrderedJson own = schema;
  for (const char* key : {"$defs", "definitions"})
    if (own.is_object() && parameters.contains(key)) own[key] = parameters[key];
  return own.dump();
}

JsonForm::Value value_of(const CallForm& form, const std::string& key, const OrderedJson& schema,
                         const OrderedJson& parameters, const ArgumentTypes& types) {
  JsonForm::Value value;
  const bool literal = form.kind == Kind::kLiteral;
  const bool plain = types.may_be_text(key) && !(literal && form.quote.empty());
  const bool own = plain && !form.text_key_close.empty();  // texts are marked apart
  value.before = form.key_open + key + (own ? form.text_key_close : form.key_close);
  value.after = literal ? "" : form.close_of(key);
  if (literal && plain) value.before += form.quote, value.after = form.quote;
  if (plain) value.texts = own || literal ? JsonForm::Value::kOnlyPlain : JsonForm::Value::kPlain;
  value.constants = value.texts != JsonForm::Value::kOnlyPlain;
  value.schema = parameter_schema(schema, parameters);
  return value;
}

/// Sorts properties by their names without regard to case, also those of properties.
void sort_properties(OrderedJson& schema) {
  if (!schema.is_structured()) return;
  for (auto& [key, value] : schema.items()) {
    sort_properties(value);
    if (key != "properties" || !value.is_object()) continue;
    std::vector<std::pair<std::string, OrderedJson>> sorted;
    for (auto& [name, property] : value.items()) sorted.emplace_back(name, std::move(property));
    std::ranges::stable_sort(sorted, {}, [](const auto& one) { return lower_case(one.first); });
    value = OrderedJson::object();
    for (auto& [name, property] : sorted) value[name] = std::move(property);
  }
}

Piece tagged_piece(const CallForm& form, const Tool& tool) {
  Piece piece{.before = form.begin + tool.name + form.middle,
              .after = form.end,
              .many_values = true,
              .separator = form.kind == Kind::kLiteral ? form.value_close : ""};
  auto parameters = parse_ordered_json(tool.parameters, "parameters of " + quote(tool.name));
  if (!parameters.is_object() || !parameters.contains("properties")) return piece;
  if (form.sorted) sort_properties(parameters);
  if (!parameters["properties"].is_object()) return piece;
  const OrderedJson required = parameters.value("required", OrderedJson::array());
  const ArgumentTypes types(tool.parameters);
  for (const auto& [key, schema] : parameters["properties"].items()) {
    JsonForm::Value value = value_of(form, key, schema, parameters, types);
    value.name = tool.name + "#/properties/" + key;
    value.required = std::find(required.begin(), required.end(), key) != required.end();
    piece.values.push_back(std::move(value));
  }
  return piece;
}

Piece piece_of(const CallForm& form, const Tool& tool) {
  if (form.kind == Kind::kTagged || form.kind == Kind::kLiteral) return tagged_piece(form, tool);
  Piece piece = form.kind == Kind::kNamed
                    ? Piece{.before = form.begin + tool.name + form.middle, .after = form.end}
                    : object_piece(form, tool.name);
  piece.schema = tool.parameters;
  piece.name = tool.name;
  piece.object = true;  // arguments always are
  return piece;
}

}  // namespace

JsonForm call_rules(const CallForm& form, const std::vector<Tool>& tools, const ToolChoice& choice,
                    bool parallel, bool begun) {
  const bool spaced = is_spaced(form);
  const std::string space = spaced ? kSpace : std::string();
  const std::string open = around(form, form.open) + space + (form.list ? "[" + space : ""),
                    last = form.list ? space + "]" : "",
                    close = last + (form.close.empty() ? "" : space + around(form, form.close));
  const bool ends_by_token = begun && form.token_of(form.close) >= 0;
  JsonForm rules{.open = begun ? open.substr(mark_text(0).size()) : open, .close = close};
  if (ends_by_token) rules.close = last + space;
  rules.repeat = parallel && choice.kind != ToolChoice::kNamed && !form.bare() &&
                 (form.many || !ends_by_token);
  rules.between = form.list ? "," + space : spaced && form.many ? space : form.between;
  if (!form.many) rules.between = close + rules.between + open;
  for (const Tool& tool : tools) {
    if (choice.kind == ToolChoice::kNamed && tool.name != choice.name) continue;
    rules.pieces.push_back(piece_of(form, tool));
  }
  return rules;
}

}  // namespace um
