// From a Responses request to a chat request (see responses.h).
#include <algorithm>
#include <utility>

#include "server/field_reader.h"
#include "server/ignored_fields.h"
#include "server/open_calls.h"
#include "server/responses.h"

namespace um {
namespace {

constexpr size_t kMaxItems = 10'000;
constexpr size_t kMaxMetadata = 16, kMaxMetadataKey = 64, kMaxMetadataValue = 512;

const OrderedJson* value_of(const OrderedJson& json, const char* name) {
  const auto it = json.find(name);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

/// A string field of an object; empty where it is missing.
std::string string_of(const OrderedJson& json, const char* name, const std::string& where) {
  const OrderedJson* value = value_of(json, name);
  if (value == nullptr) return {};
  if (!value->is_string()) wrong_type(inside(where, name), "a string", *value);
  return value->get<std::string>();
}

std::string needed(const OrderedJson& json, const char* name, const std::string& where) {
  if (value_of(json, name) == nullptr) bad_field(where + "." + name, "missing");
  return string_of(json, name, where);
}

std::string type_of(const OrderedJson& item, const std::string& where) {
  if (!item.is_object()) wrong_type(where, "an object with a \"type\"", item);
  const std::string type = string_of(item, "type", where);
  return type.empty() ? "message" : type;
}

/// Text, or parts of text only, as the parts of a chat message.
OrderedJson chat_content(const OrderedJson& content, const std::string& where) {
  if (content.is_string()) return content;
  if (!content.is_array()) wrong_type(where, "text or a list of parts", content);
  OrderedJson parts = OrderedJson::array();
  for (const OrderedJson& part : content) {
    if (!part.is_object()) wrong_type(where, "a part, an object with a \"type\"", part);
    const std::string type = string_of(part, "type", where);
    if (type == "refusal")
      parts.push_back({{"type", type}, {"refusal", string_of(part, "refusal", where)}});
    else if (type == "input_text" || type == "output_text" || type == "text")
      parts.push_back({{"type", "text"}, {"text", string_of(part, "text", where)}});
    else
      bad_field(where, "a part of type {}: this model reads text only", quote(type));
  }
  return parts;
}

/// The text of a reasoning item: its content, or else its summary.
std::string reasoning_text(const OrderedJson& item, const std::string& where) {
  std::string text;
  for (const char* name : {"content", "summary"}) {
    const OrderedJson* parts = value_of(item, name);
    if (parts == nullptr) continue;
    const bool used = text.empty();
    if (!parts->is_array()) wrong_type(where + "." + name, "a list of parts", *parts);
    for (const OrderedJson& part : *parts) {
      if (!part.is_object()) wrong_type(where + "." + name, "a part, an object", part);
      const std::string said = string_of(part, "text", where + "." + name);
      if (used) text += said;
    }
  }
  return text;
}

/// Items as chat messages: thinking, text and calls of the model that follow each other are one.
class Conversation {
 public:
  void add(const OrderedJson& item, const std::string& where) {
    const std::string type = type_of(item, where);
    if (type == "message") {
      add_message(item, where);
    } else if (type == "reasoning") {
      begin_turn(said_ || called_);
      turn_["reasoning_content"] =
          turn_.value("reasoning_content", "") + reasoning_text(item, where);
    } else if (type == "function_call") {
      begin_turn(false);
      called_ = true;
      turn_["tool_calls"].push_back({{"id", needed(item, "call_id", where)},
                                     {"type", "function"},
                                     {"function",
                                      {{"name", needed(item, "name", where)},
                                       {"arguments", string_of(item, "arguments", where)}}}});
    } else if (type == "function_call_output") {
      const OrderedJson* output = value_of(item, "output");
      if (output == nullptr) bad_field(where + ".output", "missing");
      end_turn();
      messages_.push_back({{"role", "tool"},
                           {"tool_call_id", needed(item, "call_id", where)},
                           {"content", chat_content(*output, where + ".output")}});
    } else {
      bad_field(where + ".type",
                "{}: not supported, expected message, reasoning, function_call or "
                "function_call_output",
                quote(type));
    }
  }

  OrderedJson take() {
    end_turn();
    return std::move(messages_);
  }

 private:
  void add_message(const OrderedJson& item, const std::string& where) {
    const std::string role = needed(item, "role", where);
    static constexpr std::string_view kRoles[] = {"user", "assistant", "system", "developer"};
    if (std::ranges::find(kRoles, role) == std::end(kRoles))
      bad_field(where + ".role", "{}: expected user, assistant, system or developer", quote(role));
    const OrderedJson* content = value_of(item, "content");
    if (content == nullptr) bad_field(where + ".content", "missing");
    OrderedJson text = chat_content(*content, where + ".content");
    if (role == "assistant") {
      begin_turn(said_ || called_);
      said_ = true;
      turn_["content"] = std::move(text);
      return;
    }
    end_turn();
    messages_.push_back({{"role", role}, {"content", std::move(text)}});
  }

  /// A turn of the model is there; a new one if `anew`.
  void begin_turn(bool anew) {
    if (anew) end_turn();
    if (turn_.is_null()) turn_ = {{"role", "assistant"}, {"content", ""}};
  }
  void end_turn() {
    if (!turn_.is_null()) messages_.push_back(std::exchange(turn_, nullptr));
    said_ = called_ = false;
  }

  OrderedJson messages_ = OrderedJson::array();
  OrderedJson turn_;  // null: none
  bool said_ = false, called_ = false;
};

/// An item as it is kept: with a type, an id, and its text in parts.
OrderedJson kept_item(OrderedJson item, const std::string& where) {
  const std::string type = type_of(item, where);
  for (const char* name : {"id", "status"}) string_of(item, name, where);
  item["type"] = type;
  if (value_of(item, "id") == nullptr)
    item["id"] = random_id(type == "message"         ? "msg_"
                           : type == "function_call" ? "fc_"
                           : type == "reasoning"     ? "rs_"
                                                     : "fco_");
  if (value_of(item, "status") == nullptr) item["status"] = "completed";
  if (type != "message" || !item.contains("content") || !item["content"].is_string()) return item;
  const bool answer = item.contains("role") && item["role"] == "assistant";
  OrderedJson part = {{"type", answer ? "output_text" : "input_text"}, {"text", item["content"]}};
  if (answer) part["annotations"] = OrderedJson::array();
  item["content"] = OrderedJson::array({std::move(part)});
  return item;
}

OrderedJson read_items(const OrderedJson& body) {
  const OrderedJson* input = value_of(body, "input");
  if (input == nullptr) bad_field("input", "missing");
  OrderedJson items = OrderedJson::array();
  if (input->is_string()) {
    items.push_back(kept_item({{"role", "user"}, {"content", *input}}, "input"));
    return items;
  }
  if (!input->is_array() || input->empty() || input->size() > kMaxItems)
    bad_field("input", "expected text or a list of 1 to {} items, found {}", kMaxItems,
              describe(Json(*input)));
  for (size_t i = 0; i < input->size(); ++i)
    items.push_back(kept_item((*input)[i], fmt::format("input[{}]", i)));
  return items;
}

void check_metadata(const Json& body) {
  const Json* metadata = field_of(body, "metadata");
  if (metadata == nullptr) return;
  if (!metadata->is_object() || metadata->size() > kMaxMetadata)
    bad_field("metadata", "expected an object of at most {} texts, found {}", kMaxMetadata,
              describe(*metadata));
  for (const auto& [key, value] : metadata->items())
    if (!value.is_string() || key.size() > kMaxMetadataKey ||
        value.get_ref<const std::string&>().size() > kMaxMetadataValue)
      bad_field("metadata", "expected texts of at most {} bytes under names of at most {}",
                kMaxMetadataValue, kMaxMetadataKey);
}

/// Fields that change what happens and that we cannot honour.
void refuse_unsupported(const Json& body) {
  refuse_fields(body, {"conversation", "prompt", "context_management", "moderation"});
  if (const Json* json = field_of(body, "background"); json != nullptr && *json != false)
    bad_field("background", "not supported by this server: a response is made while you wait");
}

OrderedJson chat_tools(const OrderedJson& tools) {
  if (!tools.is_array()) wrong_type("tools", "a list of tools", tools);
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string where = fmt::format("tools[{}]", i);
    const std::string type = type_of(tools[i], where);
    if (type != "function")
      bad_field(where + ".type", "{}: this server runs no tools, expected function", quote(type));
    OrderedJson function = {{"name", needed(tools[i], "name", where)}};
    string_of(tools[i], "description", where);
    for (const char* name : {"description", "parameters", "strict"})
      if (const OrderedJson* value = value_of(tools[i], name)) function[name] = *value;
    if (function.contains("parameters") && !function["parameters"].is_object())
      wrong_type(where + ".parameters", "a JSON schema", function["parameters"]);
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return out;
}

/// The tools of a tool_choice as a chat names them.
OrderedJson chat_allowed(const OrderedJson& choice) {
  const std::string field = "tool_choice.tools";
  OrderedJson allowed = choice;
  allowed.erase("type");
  if (value_of(choice, "tools") == nullptr || !choice["tools"].is_array()) return allowed;
  for (OrderedJson& tool : allowed["tools"]) {
    if (!tool.is_object()) wrong_type(field, "a tool, an object", tool);
    const std::string type = string_of(tool, "type", field);
    if (!type.empty() && type != "function")
      bad_field(field, "there is no tool of type {}", quote(type));
    tool = {{"type", "function"}, {"function", {{"name", needed(tool, "name", field)}}}};
  }
  return allowed;
}

void read_tool_choice(const OrderedJson& choice, OrderedJson& chat) {
  const std::string field = "tool_choice";
  if (!choice.is_object()) return;  // a word, which means the same there
  const std::string type = string_of(choice, "type", field);
  if (type == "function") {
    chat[field] = {{"type", type}, {"function", {{"name", needed(choice, "name", field)}}}};
  } else if (type == "allowed_tools") {
    chat[field] = {{"type", type}, {"allowed_tools", chat_allowed(choice)}};
  } else {
    bad_field(field + ".type",
              "{}: not supported, expected none, auto, required, a function or allowed_tools",
              quote(type));
  }
}

void read_text_format(const OrderedJson& text, OrderedJson& chat) {
  if (!text.is_object()) wrong_type("text", "an object", text);
  const OrderedJson* format = value_of(text, "format");
  if (format == nullptr) return;
  if (!format->is_object()) wrong_type("text.format", "an object", *format);
  const std::string type = string_of(*format, "type", "text.format");
  chat["response_format"] = {{"type", type}};
  if (type == "json_schema") chat["response_format"]["json_schema"] = *format;
}

/// `include` asks for more than the answer; we have the tokens' logprobs. A thinking comes as plain
/// text, so there is nothing that would have to be encrypted for the client to keep it.
void read_include(const Json& body, OrderedJson& chat) {
  int64_t top = 0;
  read_field(body, "top_logprobs", top, 0, 20);
  chat.erase("top_logprobs");
  std::vector<std::string> include;
  read_field(body, "include", include, 16);
  bool logprobs = top > 0;
  for (const std::string& name : include) {
    if (name == "message.output_text.logprobs")
      logprobs = true;
    else if (name != "reasoning.encrypted_content")
      bad_field("include", "{}: not supported by this server", quote(name));
  }
  if (!logprobs) return;
  chat["logprobs"] = true;
  chat["top_logprobs"] = top;
}

/// Only what says how long to think: a summary of it is not made.
void read_reasoning(const Json& body, OrderedJson& chat) {
  const Json* reasoning = field_of(body, "reasoning");
  chat.erase("reasoning");
  if (reasoning == nullptr) return;
  if (!reasoning->is_object())
    bad_field("reasoning", "expected an object, found {}", describe(*reasoning));
  std::string effort;
  read_field_of("reasoning", *reasoning, "effort", effort);
  if (!effort.empty()) chat["reasoning"] = {{"effort", effort}};
}

bool is_user(const OrderedJson& item) {
  return item.contains("role") && item["role"] == "user";
}

template <class Use>
void for_each_item(const ResponsesRequest& request, Use use) {
  for (const auto& turn : request.history)
    for (const OrderedJson& item : turn->json()) use(item, "input");
  for (size_t i = 0; i < request.items.size(); ++i)
    use(request.items[i], fmt::format("input[{}]", i));
}

/// Each output belongs to an earlier call, and each call has an output before the model goes on.
void check_calls(const ResponsesRequest& request) {
  OpenCalls calls;
  for_each_item(request, [&](const OrderedJson& item, const std::string& where) {
    const std::string type = type_of(item, where);
    if (type == "function_call") calls.add(needed(item, "call_id", where), where);
    if (type != "function_call_output") return;
    const std::string id = needed(item, "call_id", where);
    if (!calls.close(id) && !calls.had(id))
      bad_field(where, "no tool call found for the function_call_output with call_id {}",
                quote(id));
  });
  if (const auto* call = calls.unanswered())
    bad_field(call->second, "no tool output found for the function_call {}", quote(call->first));
}

/// `body` has been read: these fields are of the right types.
Json repeated_fields(const Json& body, bool stored) {
  Json repeated = {{"background", false},
                   {"instructions", nullptr},
                   {"max_output_tokens", nullptr},
                   {"max_tool_calls", nullptr},
                   {"metadata", Json::object()},
                   {"previous_response_id", nullptr},
                   {"reasoning", Json::object()},
                   {"text", {{"format", {{"type", "text"}}}}},
                   {"tool_choice", "auto"},
                   {"tools", Json::array()},
                   {"top_logprobs", 0},
                   {"truncation", "disabled"},
                   {"user", nullptr},
                   {"safety_identifier", nullptr},
                   {"prompt_cache_key", nullptr}};
  for (auto& [name, value] : repeated.items())
    if (const Json* given = field_of(body, name)) value = *given;
  if (!repeated["text"].contains("format")) repeated["text"]["format"] = {{"type", "text"}};
  for (const char* name : {"effort", "summary"})
    if (!repeated["reasoning"].contains(name)) repeated["reasoning"][name] = nullptr;
  for (Json& tool : repeated["tools"])
    for (const char* name : {"parameters", "strict"})
      if (!tool.contains(name)) tool[name] = nullptr;
  repeated["store"] = stored;
  repeated["service_tier"] = "default";
  return repeated;
}

}  // namespace

ResponsesRequest parse_responses_request(const Body& body, const ResponseStore& store) {
  ResponsesRequest request;
  refuse_unsupported(body.json);
  check_ignored_fields(body.json, Api::kResponses);
  check_metadata(body.json);
  request.items = read_items(body.ordered);
  std::string previous, truncation = "disabled";
  read_field(body.json, "previous_response_id", previous);
  if (!previous.empty()) {
    const auto found = store.get(previous);
    if (found == nullptr)
      throw ApiError(
          400,
          fmt::format("previous_response_id: there is no response {} (any more)", quote(previous)),
          "previous_response_id", "previous_response_not_found");
    request.history = found->turns;
  }
  check_calls(request);
  read_field(body.json, "truncation", truncation);
  if (truncation != "auto" && truncation != "disabled")
    bad_field("truncation", "{}: expected auto or disabled", quote(truncation));
  request.truncate = truncation == "auto";
  read_field(body.json, "store", request.store);
  request.store = request.store && store.keeps();
  int64_t calls = 0;  // only repeated in the response
  read_field(body.json, "max_tool_calls", calls, 1, int64_t{1} << 40);
  return request;
}

void repeat_fields(ResponsesRequest& request, const Body& body) {
  request.repeated = repeated_fields(body.json, request.store);
}

size_t user_turns(const ResponsesRequest& request) {
  size_t turns = 0;
  for_each_item(request, [&](const OrderedJson& item, const std::string&) {
    turns += is_user(item) ? 1 : 0;
  });
  return turns;
}

Body chat_body_of_responses(const Body& given, const ResponsesRequest& request, size_t skip) {
  const OrderedJson& body = given.ordered;
  OrderedJson chat = body;  // with fields of other servers, which mean the same here
  for (const char* name :
       {"input", "instructions", "tools", "text", "include", "max_output_tokens", "metadata",
        "store", "previous_response_id", "truncation", "stream_options", "n", "prompt", "messages",
        "response_format", "background", "conversation"})
    chat.erase(name);
  Conversation conversation;
  if (const std::string told = string_of(body, "instructions", ""); !told.empty())
    conversation.add({{"role", "system"}, {"content", told}}, "instructions");
  size_t turn = 0;
  OpenCalls left_out;
  for_each_item(request, [&](const OrderedJson& item, const std::string& where) {
    turn += is_user(item) ? 1 : 0;
    const bool leads =
        item.contains("role") && (item["role"] == "system" || item["role"] == "developer");
    const bool kept = turn > skip || skip == 0 || leads;
    const std::string type = type_of(item, where), call = string_of(item, "call_id", where);
    if (!kept && type == "function_call") left_out.add(call, where);
    const bool orphan = type == "function_call_output" && left_out.close(call);
    if (kept && !orphan) conversation.add(item, where);
  });
  chat["messages"] = conversation.take();
  int64_t max_tokens = -1;
  read_field(given.json, "max_output_tokens", max_tokens, 1, int64_t{1} << 40);
  if (max_tokens > 0) chat["max_tokens"] = max_tokens;
  if (const OrderedJson* tools = value_of(body, "tools")) chat["tools"] = chat_tools(*tools);
  if (const OrderedJson* choice = value_of(body, "tool_choice")) read_tool_choice(*choice, chat);
  if (const OrderedJson* text = value_of(body, "text")) read_text_format(*text, chat);
  read_include(given.json, chat);
  read_reasoning(given.json, chat);
  return Body(chat.dump());
}

ApiError responses_error(const ApiError& error, const Json& body) {
  static constexpr FieldName kNames[] = {
      {"response_format/json_schema/schema", "text.format.schema"},
      {"response_format", "text.format", true},
      {"max_tokens", "max_output_tokens"},
      {"tool_choice.allowed_tools", "tool_choice"},
      {"messages", "input", true}};
  return renamed(error, body, kNames);
}

}  // namespace um
