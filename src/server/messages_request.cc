// From a Messages request to a chat request (see messages.h).
#include <algorithm>
#include <optional>

#include "server/field_reader.h"
#include "server/ignored_fields.h"
#include "server/messages.h"
#include "server/open_calls.h"
#include "text/unicode.h"

namespace um {
namespace {

using Ordered = nlohmann::ordered_json;

constexpr size_t kMaxMessages = 10'000;
constexpr int64_t kLeastBudget = 1024, kMostTokens = int64_t{1} << 40;

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

/// The text of a block of text, which must have some.
std::string block_text(const Ordered& block, const std::string& where) {
  std::string text = string_of(block, "text", where);
  if (text.empty()) bad_field(where, "a text block without text");
  return text;
}

bool ends_in_space(std::string_view text) {
  return !text.empty() && is_white_space(first_code(last_character(text)));
}

/// Nothing, or white space only.
bool is_blank(std::string_view text) {
  while (ends_in_space(text)) text.remove_suffix(last_character(text).size());
  return text.empty();
}

/// The texts of a turn whose blocks have been read.
std::vector<std::string_view> texts_of(const Ordered& content) {
  if (content.is_string()) return {content.get_ref<const std::string&>()};
  std::vector<std::string_view> texts;
  for (const Ordered& block : content)
    if (block["type"] == "text") texts.push_back(block["text"].get_ref<const std::string&>());
  return texts;
}

/// A turn with texts says something in one of them; an answer that is to be gone on with does not
/// end in white space, with which the next token begins.
void check_space(const Ordered& content, bool goes_on, const std::string& where) {
  const std::vector<std::string_view> texts = texts_of(content);
  if (texts.empty()) return;
  if (!texts[0].empty() && std::ranges::all_of(texts, is_blank))
    bad_field(where, "there is nothing but white space in its text");
  const bool text_last = content.is_string() || content.back()["type"] == "text";
  if (goes_on && text_last && ends_in_space(texts.back()))
    bad_field(where, "an answer that is to be gone on with ends in white space");
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
    parts.push_back({{"type", "text"}, {"text", block_text(block, where)}});
  }
  return simple(std::move(parts));
}

/// A call of the model's turn, which has one result in the user's turn behind it.
void open_call(OpenCalls& calls, const std::string& id, const std::string& where) {
  if (id.empty()) bad_field(where + ".id", "missing");
  if (!calls.add(id, where)) bad_field(where, "two tool_use blocks have the id {}", quote(id));
}

void close_call(OpenCalls& calls, const std::string& id, const std::string& where) {
  if (id.empty()) bad_field(where + ".tool_use_id", "missing");
  if (!calls.close(id))
    bad_field(where, "a tool_result of {}: the turn before has no such tool_use without a result",
              quote(id));
}

/// For where no result can come any more.
void check_closed(const OpenCalls& calls) {
  if (const auto* call = calls.unanswered())
    bad_field(call->second, "the tool_use {} has no tool_result in the next message",
              quote(call->first));
}

/// The blocks of one role's turns that follow each other, which are one turn: one chat message or
/// several, as results of tools are messages of their own.
class Turn {
 public:
  Turn(std::string role, OpenCalls& open) : role_(std::move(role)), open_(open) {}

  const std::string& role() const { return role_; }
  void at(std::string where) { where_ = std::move(where); }

  void add(const Ordered& block, Ordered& out) {
    if (!block.is_object()) wrong_type(where_, "a block, an object with a \"type\"", block);
    const std::string type = string_of(block, "type", where_);
    const bool assistant = role_ == "assistant";
    if (type == "text") {
      add_text(block_text(block, where_));
    } else if (type == "tool_use" && assistant) {
      add_call(block);
    } else if (type == "thinking" && assistant) {
      reasoning_ += string_of(block, "thinking", where_);
    } else if (type == "tool_result" && !assistant) {
      add_result(block, out);
    } else if (type != "redacted_thinking") {
      bad_field(where_, "a block of type {} in a turn of the {}: not supported", quote(type),
                role_);
    }
  }

  void add_text(std::string text) {
    text_.push_back({{"type", "text"}, {"text", std::move(text)}});
  }

  /// What is gathered becomes a message.
  void finish(Ordered& out) {
    if (role_ == "user") check_closed(open_);
    if (text_.empty() && calls_.empty() && reasoning_.empty()) return;
    Ordered message = {{"role", role_},
                       {"content", simple(std::exchange(text_, Ordered::array()))}};
    if (!calls_.empty()) message["tool_calls"] = std::exchange(calls_, Ordered::array());
    if (!reasoning_.empty()) message["reasoning_content"] = std::exchange(reasoning_, {});
    out.push_back(std::move(message));
  }

 private:
  void add_call(const Ordered& block) {
    const Ordered* input = field_of(block, "input");
    if (input != nullptr && !input->is_object()) wrong_type(where_ + ".input", "an object", *input);
    const std::string id = string_of(block, "id", where_);
    open_call(open_, id, where_);
    calls_.push_back({{"id", id},
                      {"type", "function"},
                      {"function",
                       {{"name", string_of(block, "name", where_)},
                        {"arguments", input == nullptr ? "{}" : input->dump()}}}});
  }

  void add_result(const Ordered& block, Ordered& out) {
    const std::string id = string_of(block, "tool_use_id", where_);
    close_call(open_, id, where_);
    if (!text_.empty()) bad_field(where_, "a tool_result behind text: the results come first");
    const Ordered* content = field_of(block, "content");
    out.push_back({{"role", "tool"},
                   {"tool_call_id", id},
                   {"content", content == nullptr ? "" : content_of(*content, where_)}});
  }

  std::string role_, where_, reasoning_;
  OpenCalls& open_;
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
  OpenCalls open;
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
    if (!turn || turn->role() != role) turn.emplace(role, open);
    turn->at(where + ".content");
    // Only an answer that is gone on with may be empty.
    const bool goes_on = role == "assistant" && i + 1 == messages->size();
    if (content->is_string() && (goes_on || !content->get_ref<const std::string&>().empty()))
      turn->add_text(*content);
    else if (content->is_string())
      bad_field(where + ".content", "there is no text in it");
    else if (!content->is_array())
      wrong_type(where + ".content", "text or a list of blocks", *content);
    else if (content->empty())
      bad_field(where + ".content", "there is nothing in it");
    else
      for (const Ordered& block : *content) turn->add(block, out);
    check_space(*content, goes_on, where + ".content");
  }
  turn->finish(out);
  check_closed(open);
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
    const Ordered* schema = field_of(tool, "input_schema");
    if (schema == nullptr) bad_field(where + ".input_schema", "missing");
    if (!schema->is_object()) wrong_type(where + ".input_schema", "a JSON schema", *schema);
    if (schema->value("type", Ordered()) != "object")
      bad_field(where + ".input_schema.type", "expected object");
    function["parameters"] = *schema;
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

/// What is at odds with a thinking that is held to a budget, but not with one that is left to the
/// model: a call that must come at once, and an answer that has begun without thinking.
void check_enabled(const Ordered& body) {
  if (field_of(body["thinking"], "budget_tokens") == nullptr)
    bad_field("thinking.budget_tokens", "missing");
  if (const Ordered* choice = field_of(body, "tool_choice"))
    if ((*choice)["type"] == "any" || (*choice)["type"] == "tool")
      bad_field("thinking", "not enabled together with a tool_choice that forces a call");
  const Ordered& messages = body["messages"];
  const Ordered &last = messages.back(), &content = last["content"];
  const bool thought = content.is_array() && (content[0]["type"] == "thinking" ||
                                              content[0]["type"] == "redacted_thinking");
  if (last["role"] == "assistant" && !thought)
    bad_field(fmt::format("messages[{}].content", messages.size() - 1),
              "where thinking is enabled, an answer that is to be gone on with begins with it");
}

void read_stops(const Ordered& stops, Ordered& chat) {
  const std::string field = "stop_sequences";
  if (!stops.is_array()) wrong_type(field, "a list of strings", stops);
  for (const Ordered& stop : stops)
    if (stop.is_string() && is_blank(stop.get_ref<const std::string&>()))
      bad_field(field, "{} has nothing but white space", quote(stop.get<std::string>()));
  chat["stop"] = stops;
}

void check_budget(const Json& body, bool interleaved) {
  int64_t budget = 0, tokens = kMostTokens;
  read_field_of("thinking", body["thinking"], "budget_tokens", budget, kLeastBudget, kMostTokens);
  read_field(body, "max_tokens", tokens, 1, kMostTokens);
  if (!interleaved && budget >= tokens)
    bad_field("thinking.budget_tokens", "expected less than max_tokens ({}), found {}", tokens,
              budget);
}

void read_thinking(const Body& given, bool interleaved, Ordered& chat) {
  const Ordered& body = given.ordered;
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
  if (type == "enabled") check_enabled(body);
  const bool on = type != "disabled";
  chat["include_reasoning"] = on && string_of(*thinking, "display", "thinking") != "omitted";
  if (!chat.contains("chat_template_kwargs")) chat["chat_template_kwargs"] = Ordered::object();
  if (chat["chat_template_kwargs"].is_object())
    chat["chat_template_kwargs"]["enable_thinking"] = on;
  if (!on || field_of(*thinking, "budget_tokens") == nullptr) return;
  check_budget(given.json, interleaved);
  chat["thinking_token_budget"] = (*thinking)["budget_tokens"];
}

void read_output_config(const Ordered& body, Ordered& chat) {
  const Ordered* config = field_of(body, "output_config");
  if (config != nullptr && !config->is_object()) wrong_type("output_config", "an object", *config);
  const Ordered* format = config == nullptr ? nullptr : field_of(*config, "format");
  const Ordered* older = field_of(body, "output_format");  // its first name
  if (format != nullptr && older != nullptr)
    bad_field("output_format", "there is output_config.format too: give one of them");
  const char* name = format == nullptr ? "output_format" : "output_config.format";
  if (format == nullptr) format = older;
  if (format == nullptr) return;
  if (!format->is_object()) wrong_type(name, "an object", *format);
  chat["response_format"] = {{"type", "json_schema"}, {"json_schema", *format}};
}

/// The chat's fields go further: there are a -1 and higher temperatures.
void check_numbers(const Json& body) {
  int64_t count = 0;
  for (const char* name : {"max_tokens", "max_completion_tokens"})
    read_field(body, name, count, 1, kMostTokens);
  read_field(body, "top_k", count, 0, kMostTokens);
  double temperature = 0;
  read_field(body, "temperature", temperature, 0, 1);
}

}  // namespace

Body chat_body_of_messages(const Body& given, bool interleaved) {
  const Ordered& body = given.ordered;
  check_numbers(given.json);
  refuse_fields(given.json, {"mcp_servers", "container", "context_management"});
  check_ignored_fields(given.json, Api::kMessages);
  Ordered chat = body;  // with fields of other servers, which mean the same here
  for (const char* name : {"system", "stop_sequences", "tools", "tool_choice", "thinking",
                           "metadata", "n", "output_config", "output_format", "stream_options"})
    chat.erase(name);
  chat["messages"] = chat_messages(body);
  if (const Ordered* stops = field_of(body, "stop_sequences")) read_stops(*stops, chat);
  if (const Ordered* tools = field_of(body, "tools")) chat["tools"] = chat_tools(*tools);
  if (const Ordered* choice = field_of(body, "tool_choice")) read_tool_choice(*choice, chat);
  read_thinking(given, interleaved, chat);
  read_output_config(body, chat);
  // An answer that has begun is gone on with.
  if (chat["messages"].back()["role"] == "assistant") {
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
