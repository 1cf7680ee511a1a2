// See ignored_fields.h.
#include "server/ignored_fields.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/stop_scope.h"
#include "server/field_reader.h"

namespace um {
namespace {

/// A type: what an error says was expected, and whether a value is of it.
struct Type {
  std::string_view expected;
  bool (*fits)(const Json& value);
};

bool is_text(const Json& value) {
  return value.is_string();
}

/// An object or a list all of whose values are strings.
bool all_texts(const Json& value) {
  return std::ranges::all_of(value, is_text);
}

bool is_text_or_null(const Json& object, const char* name) {
  const Json* value = field_of(object, name);
  return value == nullptr || value->is_string();
}

constexpr Type kText{"a string", is_text};
constexpr Type kFlag{"true or false", [](const Json& value) { return value.is_boolean(); }};
constexpr Type kWhole{"a whole number", [](const Json& value) {
                        return value.is_number() &&
                               std::floor(value.get<double>()) == value.get<double>();
                      }};
constexpr Type kObject{"an object", [](const Json& value) { return value.is_object(); }};
constexpr Type kList{"a list", [](const Json& value) { return value.is_array(); }};
constexpr Type kTexts{"a list of strings",
                      [](const Json& value) { return value.is_array() && all_texts(value); }};
constexpr Type kNamedTexts{"an object of strings",
                           [](const Json& value) { return value.is_object() && all_texts(value); }};
constexpr Type kCacheMark{"an object with the strings \"type\" and \"ttl\"", [](const Json& value) {
                            return value.is_object() && is_text_or_null(value, "type") &&
                                   is_text_or_null(value, "ttl");
                          }};

/// Where a field lies in a body (`[]`: in each value of a list), and its type.
struct Ignored {
  std::string_view path;
  const Type& type;
};

constexpr Ignored kTextFields[] = {{"model", kText}, {"user", kText}};

// Of all that OpenAI's API generates.
constexpr Ignored kOpenAiFields[] = {{"safety_identifier", kText},
                                     {"prompt_cache_key", kText},
                                     {"prompt_cache_retention", kText},
                                     {"prompt_cache_options", kObject},
                                     {"service_tier", kText},
                                     {"metadata", kNamedTexts},
                                     {"store", kFlag},
                                     {"stream_options", kObject},
                                     {"stream_options.include_obfuscation", kFlag}};

constexpr Ignored kChatFields[] = {{"verbosity", kText},
                                   {"prediction", kObject},
                                   {"moderation", kObject},
                                   {"cache_control", kCacheMark},
                                   {"messages[].annotations", kList},
                                   {"messages[].reasoning", kText},
                                   {"messages[].reasoning_details", kList},
                                   {"messages[].cache_control", kCacheMark},
                                   {"messages[].tool_calls[].id", kText},
                                   {"messages[].tool_calls[].type", kText},
                                   {"messages[].tool_calls[].index", kWhole},
                                   {"messages[].content[].annotations", kList},
                                   {"messages[].content[].cache_control", kCacheMark},
                                   {"messages[].content[].prompt_cache_breakpoint", kObject},
                                   {"tools[].cache_control", kCacheMark},
                                   {"tools[].function.strict", kFlag},
                                   {"tool_choice.type", kText},
                                   {"tool_choice.allowed_tools.tools[].type", kText},
                                   {"response_format.json_schema.name", kText},
                                   {"response_format.json_schema.description", kText},
                                   {"response_format.json_schema.strict", kFlag},
                                   {"reasoning.summary", kText},
                                   {"reasoning.exclude", kFlag},
                                   {"reasoning.max_tokens", kWhole}};

constexpr Ignored kResponsesFields[] = {{"access_programs", kObject},
                                        {"background_options", kObject},
                                        {"image", kObject},
                                        {"input[].phase", kText},
                                        {"input[].encrypted_content", kText},
                                        {"input[].namespace", kText},
                                        {"input[].caller", kObject},
                                        {"input[].async", kFlag},
                                        {"input[].content[].annotations", kList},
                                        {"input[].content[].logprobs", kList},
                                        {"input[].content[].prompt_cache_breakpoint", kObject},
                                        {"input[].output[].prompt_cache_breakpoint", kObject},
                                        {"reasoning.context", kText},
                                        {"reasoning.mode", kText},
                                        {"reasoning.summary", kText},
                                        {"reasoning.generate_summary", kText},
                                        {"text.verbosity", kText},
                                        {"text.format.name", kText},
                                        {"text.format.description", kText},
                                        {"text.format.strict", kFlag},
                                        {"tools[].strict", kFlag},
                                        {"tools[].async", kFlag},
                                        {"tools[].defer_loading", kFlag},
                                        {"tools[].allowed_callers", kTexts},
                                        {"tools[].output_schema", kObject}};

constexpr Ignored kMessagesFields[] = {{"model", kText},
                                       {"metadata", kObject},
                                       {"metadata.user_id", kText},
                                       {"service_tier", kText},
                                       {"inference_geo", kText},
                                       {"speed", kText},
                                       {"user_profile_id", kText},
                                       {"workspace_id", kText},
                                       {"diagnostics", kObject},
                                       {"betas", kTexts},
                                       {"cache_control", kCacheMark},
                                       {"output_config.effort", kText},
                                       {"output_config.format.type", kText},
                                       {"thinking.display", kText},
                                       {"thinking.budget_tokens", kWhole},
                                       {"system[].cache_control", kCacheMark},
                                       {"system[].citations", kList},
                                       {"messages[].content[].cache_control", kCacheMark},
                                       {"messages[].content[].citations", kList},
                                       {"messages[].content[].signature", kText},
                                       {"messages[].content[].data", kText},
                                       {"messages[].content[].is_error", kFlag},
                                       {"messages[].content[].caller", kObject},
                                       {"messages[].content[].toolset_name", kText},
                                       {"messages[].content[].content[].cache_control", kCacheMark},
                                       {"messages[].content[].content[].citations", kList},
                                       {"tools[].cache_control", kCacheMark},
                                       {"tools[].strict", kFlag},
                                       {"tools[].defer_loading", kFlag},
                                       {"tools[].eager_input_streaming", kFlag},
                                       {"tools[].allowed_callers", kTexts},
                                       {"tools[].input_examples", kList}};

/// `where` is the place of `json` in the body, `path` the rest of the way.
void check_at(const Json& json, const std::string& where, std::string_view path, const Type& type) {
  if (path.empty()) {
    if (!type.fits(json)) wrong_type(where, type.expected, json);
  } else if (path.starts_with("[]")) {
    if (!json.is_array()) return;
    check_stop();
    for (size_t i = 0; i < json.size(); ++i)
      check_at(json[i], fmt::format("{}[{}]", where, i), path.substr(2), type);
  } else if (json.is_object()) {
    if (path.starts_with('.')) path.remove_prefix(1);
    const std::string name(path.substr(0, path.find_first_of(".[")));
    const Json* value = field_of(json, name);
    if (value != nullptr) check_at(*value, inside(where, name), path.substr(name.size()), type);
  }
}

std::span<const Ignored> own_fields(Api api) {
  if (api == Api::kChat) return kChatFields;
  if (api == Api::kResponses) return kResponsesFields;
  if (api == Api::kMessages) return kMessagesFields;
  return {};
}

}  // namespace

void check_ignored_fields(const Json& body, Api api) {
  const auto check = [&](std::span<const Ignored> fields) {
    for (const auto& [path, type] : fields) check_at(body, "", path, type);
  };
  if (api != Api::kMessages) check(kTextFields);
  if (api != Api::kMessages && api != Api::kTexts) check(kOpenAiFields);
  check(own_fields(api));
}

}  // namespace um
