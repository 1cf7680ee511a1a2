// From a Messages request to a chat request (see messages.h).
#include <algorithm>
#include <optional>

#include "server/field_reader.h"
#include "server/messages.h"

namespace um {
namespace {

using Ordered = nlohmann::ordered_json;

constexpr size_t kMaxMessages = 10'000;

const Ordered* field_of(const Ordered& json, const char* name) {
  const auto it = json.find(name);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

/// A string field of an object; empty where it is missing.
std::string string_of(const Ordered& json, const char* name, const std::string& where) {
  const Ordered* value = field_of(json, name);
  if (value == nullptr) return {};
  if (!value->is_string()) wrong_type(where + "." + name, "a string", *value);
  return value->get<std::string>();
}

/// Parts as a content: none and one are a text.
Ordered simple(Ordered parts) {
  if (parts.empty()) return "";
  if (parts.size() == 1) return parts[0]["text"];
  return parts;
}

/// Text, or blocks of text only: a system prompt, the result of a tool.
Ordered content_of(const Ordered& content, const std::string& where) {
  if (content.is_string()) return content;
  if (!content.is_array()) wrong_type(where, "text or a list of blocks", content);
  Ordered parts = Ordered::array();
  for (const Ordered& block : content) {
    if (!block.is_object()) wrong_type(where, "a block, an object with a \"type\"", block);
    const std::string type = string_of(block, "type", where);
    if (type != "text")
      bad_field(where, "a block of type {}: this model reads text only", quote(type));
    parts.push_back({{"type", "text"}, {"text", string_of(block, "text", where)}});
  }
  return simple(std::move(parts));
}

/// The blocks of one role's turns that follow each other, which are one turn: one chat message or
/// several, as results of tools are messages of their own.
class Turn {
 public:
  explicit Turn(std::string role) : role_(std::move(role)) {}

  const std::string& role() const { return role_; }
  void at(std::string where) { where_ = std::move(where); }

  void add(const Ordered& block, Ordered& out) {
    if (!block.is_object()) wrong_type(where_, "a block, an object with a \"type\"", block);
    const std::string type = string_of(block, "type", where_);
    const bool assistant = role_ == "assistant";
    if (type == "text") {
      text_.push_back({{"type", "text"}, {"text", string_of(block, "text", where_)}});
    } else if (type == "tool_use" && assistant) {
      const Ordered* input = field_of(block, "input");
      if (input != nullptr && !input->is_object())
        wrong_type(where_ + ".input", "an object", *input);
      calls_.push_back({{"id", string_of(block, "id", where_)},
                        {"type", "function"},
                        {"function",
                         {{"name", string_of(block, "name", where_)},
                          {"arguments", input == nullptr ? "{}" : input->dump()}}}});
    } else if (type == "thinking" && assistant) {
      reasoning_ += string_of(block, "thinking", where_);
    } else if (type == "tool_result" && !assistant) {
      finish(out);  // what stands before it
      const Ordered* content = field_of(block, "content");
      out.push_back({{"role", "tool"},
                     {"tool_call_id", string_of(block, "tool_use_id", where_)},
                     {"content", content == nullptr ? "" : content_of(*content, where_)}});
    } else if (type != "redacted_thinking") {
      bad_field(where_, "a block of type {} in a turn of the {}: not supported", quote(type),
                role_);
    }
  }

  /// What is gathered becomes a message.
  void finish(Ordered& out) {
    if (text_.empty() && calls_.empty() && reasoning_.empty()) return;
    Ordered message = {{"role", role_},
                       {"content", simple(std::exchange(text_, Ordered::array()))}};
    if (!calls_.empty()) message["tool_calls"] = std::exchange(calls_, Ordered::array());
    if (!reasoning_.empty()) message["reasoning_content"] = std::exchange(reasoning_, {});
    out.push_back(std::move(message));
  }

 private:
  std::string role_, where_, reasoning_;
  Ordered text_ = Ordered::array(), calls_ = Ordered::array();
};

Ordered chat_messages(const Ordered& body) {
  Ordered out = Ordered::array();
  if (const Ordered* system = field_of(body, "system"))
    out.push_back({{"role", "system"}, {"content", content_of(*system, "system")}});
  const Ordered* messages = field_of(body, "messages");
  if (messages == nullptr || !messages->is_array() || messages->empty() ||
      messages->size() > kMaxMessages)
    bad_field("messages", "expected a list of 1 to {} messages, found {}", kMaxMessages,
              messages == nullptr ? "nothing" : describe(Json(*messages)));
  std::optional<Turn> turn;
  for (size_t i = 0; i < messages->size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    const Ordered& message = (*messages)[i];
    if (!message.is_object()) wrong_type(where, "an object", message);
    const std::string role = string_of(message, "role", where);
    if (role != "user" && role != "assistant")
      bad_field(where + ".role", "{}: expected user or assistant", quote(role));
    const Ordered* content = field_of(message, "content");
    if (content == nullptr) bad_field(where + ".content", "missing");
    if (turn && turn->role() != role) turn->finish(out);
    if (!turn || turn->role() != role) turn.emplace(role);
    turn->at(where + ".content");
    if (content->is_string())
      turn->add({{"type", "text"}, {"text", *content}}, out);
    else if (!content->is_array())
      wrong_type(where + ".content", "text or a list of blocks", *content);
    else if (content->empty())
      bad_field(where + ".content", "there is nothing in it");
    else
      for (const Ordered& block : *content) turn->add(block, out);
  }
  turn->finish(out);
  if (out.empty() || out.back()["role"] == "system")
    bad_field("messages", "there is nothing in them");
  return out;
}

Ordered chat_tools(const Ordered& tools) {
  if (!tools.is_array()) wrong_type("tools", "a list of tools", tools);
  Ordered out = Ordered::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string where = fmt::format("tools[{}]", i);
    const Ordered& tool = tools[i];
    if (!tool.is_object()) wrong_type(where, "an object", tool);
    const std::string type = string_of(tool, "type", where);
    if (!type.empty() && type != "custom")
      bad_field(where + ".type", "{}: this server runs no tools, expected custom", quote(type));
    Ordered function = {{"name", string_of(tool, "name", where)}};
    if (const std::string text = string_of(tool, "description", where); !text.empty())
      function["description"] = text;
    if (const Ordered* schema = field_of(tool, "input_schema")) function["parameters"] = *schema;
    if (function.contains("parameters") && !function["parameters"].is_object())
      wrong_type(where + ".input_schema", "a JSON schema", function["parameters"]);
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return out;
}

void read_tool_choice(const Ordered& choice, Ordered& chat) {
  const std::string field = "tool_choice";
  if (!choice.is_object()) wrong_type(field, "an object", choice);
  const std::string type = string_of(choice, "type", field);
  if (type == "auto" || type == "none")
    chat[field] = type;
  else if (type == "any")
    chat[field] = "required";
  else if (type == "tool")
    chat[field] = {{"type", "function"},
                   {"function", {{"name", string_of(choice, "name", field)}}}};
  else
    bad_field(field + ".type", "{}: expected auto, any, tool or none", quote(type));
  const Ordered* alone = field_of(choice, "disable_parallel_tool_use");
  if (alone == nullptr) return;
  if (!alone->is_boolean())
    wrong_type(field + ".disable_parallel_tool_use", "true or false", *alone);
  chat["parallel_tool_calls"] = *alone == false;
}

void read_thinking(const Ordered& body, Ordered& chat) {
  const Ordered* thinking = field_of(body, "thinking");
  // Who speaks of it in another way knows what he does.
  if (thinking == nullptr && (field_of(body, "chat_template_kwargs") != nullptr ||
                              field_of(body, "reasoning_effort") != nullptr))
    return;
  if (thinking != nullptr && !thinking->is_object()) wrong_type("thinking", "an object", *thinking);
  const std::string type =
      thinking == nullptr ? "disabled" : string_of(*thinking, "type", "thinking");
  static constexpr std::string_view kTypes[] = {"disabled", "enabled", "adaptive", "between_tools"};
  if (std::find(std::begin(kTypes), std::end(kTypes), type) == std::end(kTypes))
    bad_field("thinking.type", "{}: expected enabled, adaptive or disabled", quote(type));
  const bool on = type != "disabled";
  chat["include_reasoning"] = on && string_of(*thinking, "display", "thinking") != "omitted";
  if (!chat.contains("chat_template_kwargs")) chat["chat_template_kwargs"] = Ordered::object();
  if (chat["chat_template_kwargs"].is_object())
    chat["chat_template_kwargs"]["enable_thinking"] = on;
  if (on && field_of(*thinking, "budget_tokens") != nullptr)
    chat["thinking_token_budget"] = (*thinking)["budget_tokens"];
}

void read_output_config(const Ordered& body, Ordered& chat) {
  const Ordered* config = field_of(body, "output_config");
  if (config == nullptr) return;
  if (!config->is_object()) wrong_type("output_config", "an object", *config);
  const Ordered* format = field_of(*config, "format");
  if (format == nullptr) return;
  if (!format->is_object()) wrong_type("output_config.format", "an object", *format);
  chat["response_format"] = {{"type", "json_schema"}, {"json_schema", *format}};
}

/// Of these the chat's fields know a -1, which this API does not.
void check_counts(const Json& body) {
  int64_t count = 0;
  for (const char* name : {"max_tokens", "max_completion_tokens"})
    read_field(body, name, count, 1, int64_t{1} << 40);
  read_field(body, "top_k", count, 0, int64_t{1} << 40);
}

}  // namespace

Body chat_body_of_messages(const Body& given) {
  const Ordered& body = given.ordered;
  check_counts(given.json);
  Ordered chat = body;  // with fields of other servers, which mean the same here
  for (const char* name : {"system", "stop_sequences", "tools", "tool_choice", "thinking",
                           "metadata", "n", "output_config", "stream_options"})
    chat.erase(name);
  chat["messages"] = chat_messages(body);
  if (const Ordered* stop = field_of(body, "stop_sequences")) chat["stop"] = *stop;
  if (const Ordered* tools = field_of(body, "tools")) chat["tools"] = chat_tools(*tools);
  if (const Ordered* choice = field_of(body, "tool_choice")) read_tool_choice(*choice, chat);
  read_thinking(body, chat);
  read_output_config(body, chat);
  // An answer that has begun is gone on with.
  const Ordered& last = chat["messages"].back();
  if (last["role"] == "assistant" && !last.contains("tool_calls")) {
    chat["continue_final_message"] = true;
    chat.erase("add_generation_prompt");
  }
  return Body(chat.dump());
}

ApiError messages_names(const ApiError& error, const Json& body) {
  static constexpr FieldName kNames[] = {
      {"response_format/json_schema/schema", "output_config.format.schema"},
      {"response_format", "output_config.format", true},
      {"stop", "stop_sequences"},
      {"thinking_token_budget", "thinking.budget_tokens"},
      {"messages", "messages", true}};
  return renamed(error, body, kNames);
}

}  // namespace um
