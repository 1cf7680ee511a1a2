// chat/completions: messages, tools, thinking (see request.h).
#include <algorithm>

#include "core/ordered_json.h"
#include "server/field_reader.h"
#include "server/ignored_fields.h"
#include "server/request.h"

namespace um {
namespace {

constexpr size_t kMaxMessages = 10'000, kMaxTools = 256;

/// The text of one part of a content.
std::string part_text(const Json& part, const std::string& where) {
  if (!part.is_object()) bad_field(where, "expected an object, found {}", describe(part));
  std::string type, text;
  read_field_of(where, part, "type", type);
  const bool refusal = type == "refusal";
  if (!refusal && type != "text" && type != "input_text" && type != "output_text")
    bad_field(where, "a part of type {}: this model reads text only", quote(type));
  const char* field = refusal ? "refusal" : "text";
  if (field_of(part, field) == nullptr) bad_field(where, "a part without \"{}\"", field);
  read_field_of(where, part, field, text);
  return text;
}

/// A message's content: text, or parts that are all text, with line ends between.
std::string content_text(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) bad_field(where, "expected text or parts, found {}", describe(content));
  std::string text;
  for (size_t i = 0; i < content.size(); ++i)
    text += (i == 0 ? "" : "\n") + part_text(content[i], where);
  return text;
}

/// What a client sends back of a call: an object. What is none, or no JSON (the model wrote it, or
/// was cut off), stays the text that it is; of integers that no 64 bits hold stay the digits.
OrderedJson read_arguments(const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return OrderedJson::object();
  static constexpr std::string_view kAll[] = {""};
  try {
    OrderedJson parsed = parse_ordered_json(text, "arguments", {}, {}, kAll);
    return parsed.is_object() ? parsed : OrderedJson(text);
  } catch (const Error&) {
    return text;
  }
}

/// The calls of an earlier answer as the model wrote them.
std::string written_calls(const Json& calls, const std::string& where) {
  if (!calls.is_array()) bad_field(where, "expected a list of calls, found {}", describe(calls));
  if (calls.empty()) return {};
  Json list = Json::array();
  for (const Json& call : calls) {
    const Json* function = call.is_object() ? field_of(call, "function") : nullptr;
    if (function == nullptr || !function->is_object())
      bad_field(where, "expected calls with a \"function\", found {}", describe(call));
    std::string name;
    read_field_of(where, *function, "name", name);
    if (name.empty()) bad_field(where, "a call has no name");
    const Json* arguments = field_of(*function, "arguments");
    if (arguments != nullptr && !arguments->is_string() && !arguments->is_object())
      wrong_type(where + ".function.arguments", "an object, or one as text", *arguments);
    Json parsed = arguments != nullptr ? *arguments : Json::object();
    if (parsed.is_string()) parsed = read_arguments(parsed.get<std::string>());
    list.push_back({{"name", name}, {"arguments", std::move(parsed)}});
  }
  return fmt::format("{}{}{}", kToolOpen, to_text(list), kToolClose);
}

/// What an assistant's message says beside its content: refusals are text too.
void read_sides(const Json& json, const std::string& where, std::string& text) {
  std::string refusal;
  read_field_of(where, json, "refusal", refusal);
  if (!refusal.empty()) text += (text.empty() ? "" : "\n") + refusal;
  if (field_of(json, "function_call") != nullptr)
    bad_field(where + ".function_call", "not supported: use \"tool_calls\"");
  if (field_of(json, "audio") != nullptr) bad_field(where + ".audio", "this model reads text only");
}

Message parse_message(const Json& json, const std::string& where) {
  if (!json.is_object()) bad_field(where, "expected an object, found {}", describe(json));
  Message message;
  read_field_of(where, json, "role", message.role);
  if (message.role == "developer") message.role = "system";
  static constexpr std::string_view kRoles[] = {"system", "user", "assistant", "tool", "function"};
  if (std::find(std::begin(kRoles), std::end(kRoles), message.role) == std::end(kRoles))
    bad_field(where + ".role", "{}: expected system, developer, user, assistant, tool or function",
              quote(message.role));
  if (const Json* content = field_of(json, "content"))
    message.content = content_text(*content, where + ".content");
  else if (message.role != "assistant")
    bad_field(where + ".content", "missing");
  if (message.role == "assistant") read_sides(json, where, message.content);
  std::string text;
  for (const char* name : {"name", "tool_call_id", "reasoning_content"})
    read_field_of(where, json, name, text);
  const Json* calls = field_of(json, "tool_calls");
  if (calls != nullptr && message.role == "assistant")
    message.trusted = written_calls(*calls, where + ".tool_calls");
  return message;
}

constexpr const char* kAllowed = "tool_choice.allowed_tools";

/// What a tool_choice of this type says; null for others.
const Json* allowed_tools(const Json& body) {
  const Json* choice = field_of(body, "tool_choice");
  if (choice == nullptr || !choice->is_object()) return nullptr;
  std::string type;
  read_field_of("tool_choice", *choice, "type", type);
  if (type != "allowed_tools") return nullptr;
  const Json* allowed = field_of(*choice, "allowed_tools");
  if (allowed == nullptr) bad_field(kAllowed, "missing");
  if (!allowed->is_object()) wrong_type(kAllowed, "an object", *allowed);
  return allowed;
}

/// Leaves those of the tools that may be called.
void keep_allowed(const Json& allowed, std::vector<Tool>& tools, OrderedJson& described) {
  const std::string field = std::string(kAllowed) + ".tools";
  const Json* list = field_of(allowed, "tools");
  if (list == nullptr) bad_field(field, "missing");
  if (!list->is_array()) wrong_type(field, "a list of tools", *list);
  std::vector<bool> kept(tools.size());
  for (const Json& entry : *list) {
    const Json* function = entry.is_object() ? field_of(entry, "function") : nullptr;
    if (function == nullptr || !function->is_object())
      wrong_type(field, "tools with a \"function\"", entry);
    std::string name;
    read_field_of(field + ".function", *function, "name", name);
    const auto found = std::ranges::find(tools, name, &Tool::name);
    if (found == tools.end()) bad_field(field, "there is no tool {}", quote(name));
    kept[static_cast<size_t>(found - tools.begin())] = true;
  }
  for (size_t i = kept.size(); i-- > 0;) {
    if (kept[i]) continue;
    tools.erase(tools.begin() + static_cast<std::ptrdiff_t>(i));
    described.erase(i);
  }
}

/// What the model may do with the tools that are left.
ToolChoice parse_allowed_mode(const Json& allowed, const std::vector<Tool>& tools) {
  const std::string field = std::string(kAllowed) + ".mode";
  if (field_of(allowed, "mode") == nullptr) bad_field(field, "missing");
  std::string mode;
  read_field_of(kAllowed, allowed, "mode", mode);
  if (mode == "auto") return {tools.empty() ? ToolChoice::kNone : ToolChoice::kAuto, {}};
  if (mode != "required") bad_field(field, "{}: expected auto or required", quote(mode));
  if (tools.empty()) bad_field(field, "there are no tools to choose from");
  return {ToolChoice::kRequired, {}};
}

ToolChoice parse_tool_choice(const Json& body, const std::vector<Tool>& tools) {
  const std::string field = "tool_choice";
  const Json* json = field_of(body, field);
  if (json == nullptr) return {tools.empty() ? ToolChoice::kNone : ToolChoice::kAuto, {}};
  if (*json == "none") return {ToolChoice::kNone, {}};
  if (tools.empty()) {
    if (*json == "auto") return {ToolChoice::kNone, {}};
    bad_field(field, "there are no tools to choose from");
  }
  if (*json == "auto") return {ToolChoice::kAuto, {}};
  if (*json == "required" || *json == "any") return {ToolChoice::kRequired, {}};
  const Json* function = json->is_object() ? field_of(*json, "function") : nullptr;
  if (function == nullptr || !function->is_object())
    bad_field(field, "expected none, auto, required, a function or allowed_tools, found {}",
              describe(*json));
  ToolChoice choice{ToolChoice::kNamed, {}};
  read_field_of(field + ".function", *function, "name", choice.name);
  const bool known = std::any_of(tools.begin(), tools.end(),
                                 [&](const Tool& tool) { return tool.name == choice.name; });
  if (!known) bad_field(field, "there is no tool {}", quote(choice.name));
  return choice;
}

/// The tools that may be called, and whether they must be. The model is told of no others.
void read_tools(const Body& given, ChatRequest& request) {
  request.tools = parse_tools(given);
  if (const Json* allowed = allowed_tools(given.json)) {
    keep_allowed(*allowed, request.tools, request.input.tools);
    request.tool_choice = parse_allowed_mode(*allowed, request.tools);
  } else {
    request.tool_choice = parse_tool_choice(given.json, request.tools);
  }
  if (request.tool_choice.kind == ToolChoice::kNone) request.input.tools = OrderedJson::array();
}

void read_thinking_budget(const Json& body, int64_t& budget) {
  constexpr int64_t kMax = int64_t{1} << 40;
  for (const char* name :
       {"thinking_token_budget", "thinking_budget_tokens", "reasoning_budget_tokens"})
    read_field(body, name, budget, -1, kMax);
  if (const Json* kwargs = field_of(body, "chat_template_kwargs"))
    read_field_of("chat_template_kwargs", *kwargs, "thinking_budget", budget, -1, kMax);
}

void read_chat_logprobs(const Json& body, const RequestLimits& limits, GenerationParams& params) {
  bool logprobs = false;
  read_field(body, "logprobs", logprobs);
  int64_t top = 0;
  read_field(body, "top_logprobs", top, 0, limits.max_top_logprobs);
  if (top > 0 && !logprobs) bad_field("top_logprobs", "only with \"logprobs\": true");
  if (logprobs) params.top_logprobs = top;
}

}  // namespace

std::vector<Message> parse_messages(const Json& body) {
  const Json* json = field_of(body, "messages");
  if (json == nullptr) bad_field("messages", "missing");
  if (!json->is_array() || json->empty() || json->size() > kMaxMessages)
    bad_field("messages", "expected a list of 1 to {} messages, found {}", kMaxMessages,
              describe(*json));
  std::vector<Message> messages;
  messages.reserve(json->size());
  bool called = false;
  for (size_t i = 0; i < json->size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    messages.push_back(parse_message((*json)[i], where));
    called = called || !messages.back().trusted.empty();
    // Clients cut histories, and so may have lost the very call that it answers.
    if (messages.back().role == "tool" && !called)
      bad_field(where + ".role", "\"tool\" where no assistant's message before has tool_calls");
  }
  return messages;
}

std::vector<Tool> parse_tools(const Body& body) {
  const Json* json = field_of(body.json, "tools");
  if (json == nullptr) return {};
  if (!json->is_array() || json->size() > kMaxTools)
    bad_field("tools", "expected a list of at most {} tools, found {}", kMaxTools, describe(*json));
  std::vector<Tool> tools;
  for (size_t i = 0; i < json->size(); ++i) {
    const std::string where = fmt::format("tools[{}]", i);
    const Json& entry = (*json)[i];
    std::string type = "function";
    if (entry.is_object()) read_field_of(where, entry, "type", type);
    const Json* function = entry.is_object() ? field_of(entry, "function") : nullptr;
    if (function == nullptr || !function->is_object() || type != "function")
      bad_field(where, "expected {{\"type\": \"function\", \"function\": {{…}}}}, found {}",
                describe(entry));
    Tool tool;
    read_field_of(where + ".function", *function, "name", tool.name);
    read_field_of(where + ".function", *function, "description", tool.description);
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' '; };
    if (tool.name.empty() || tool.name.size() > 256 ||
        std::any_of(tool.name.begin(), tool.name.end(), is_control))
      bad_field(where, "expected a name of 1 to 256 bytes without control characters");
    if (std::ranges::count(tools, tool.name, &Tool::name) > 0)
      bad_field(where + ".function.name", "there is another tool {}", quote(tool.name));
    const Json* parameters = field_of(*function, "parameters");
    if (parameters != nullptr && !parameters->is_object())
      bad_field(where + ".function.parameters", "expected a JSON schema, found {}",
                describe(*parameters));
    tool.parameters = parameters == nullptr
                          ? R"({"type":"object"})"
                          : body.ordered["tools"][i]["function"]["parameters"].dump();
    tools.push_back(std::move(tool));
  }
  return tools;
}

ThinkingWish parse_thinking(const Json& body) {
  ThinkingWish wish;
  std::string name, effort = "reasoning_effort";
  read_field(body, "reasoning_effort", wish.effort);
  if (const Json* reasoning = field_of(body, "reasoning")) {
    if (!reasoning->is_object())
      bad_field("reasoning", "expected an object, found {}", describe(*reasoning));
    bool enabled = true;
    read_field_of("reasoning", *reasoning, "effort", wish.effort);
    read_field_of("reasoning", *reasoning, "enabled", enabled);
    if (field_of(*reasoning, "effort") != nullptr) effort = "reasoning.effort";
    wish.mode = enabled ? ThinkMode::kSlow : ThinkMode::kFast;
    if (!enabled) wish.effort = "none";
  }
  static constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium",
                                                  "high", "xhigh",   "max"};
  const auto* known = std::find(std::begin(kEfforts), std::end(kEfforts), wish.effort);
  if (!wish.effort.empty() && known == std::end(kEfforts))
    bad_field(effort, "{}: expected none, minimal, low, medium or high", quote(wish.effort));
  if (!wish.effort.empty()) wish.mode = known - kEfforts < 2 ? ThinkMode::kFast : ThinkMode::kSlow;
  const Json* kwargs = field_of(body, "chat_template_kwargs");
  if (kwargs == nullptr) return wish;
  const std::string field = "chat_template_kwargs";
  if (!kwargs->is_object()) bad_field(field, "expected an object, found {}", describe(*kwargs));
  for (const char* key : {"enable_thinking", "thinking"}) {
    bool on = true;
    if (field_of(*kwargs, key) == nullptr) continue;
    read_field_of(field, *kwargs, key, on);
    wish.mode = on ? ThinkMode::kSlow : ThinkMode::kFast;
  }
  read_field_of(field, *kwargs, "mode", name);
  if (name.empty()) return wish;
  if (name != "slow" && name != "fast" && name != "auto")
    bad_field(field + ".mode", "{}: expected slow, fast or auto", quote(name));
  wish.mode = parse_think_mode(name);
  return wish;
}

// Parts are {"type": "text", "text"}, and calls have their arguments as objects where they are
// such.
TemplateInput template_input(const Body& body, const std::vector<Message>& messages) {
  TemplateInput input;
  for (size_t i = 0; i < messages.size(); ++i) {
    OrderedJson message = body.ordered.at("messages").at(i);
    if (message.contains("content") && message["content"].is_array())
      for (auto& part : message["content"])
        part = {{"type", "text"}, {"text", part_text(part, "messages")}};
    const bool refused = message.contains("refusal") && message["refusal"].is_string();
    if (refused && messages[i].role == "assistant") message["content"] = messages[i].content;
    const bool calls = message.contains("tool_calls") && !message["tool_calls"].is_null() &&
                       !message["tool_calls"].empty();
    if (!calls || messages[i].role != "assistant") {
      message.erase("tool_calls");
    } else {
      for (auto& call : message["tool_calls"]) {
        auto& arguments = call["function"]["arguments"];
        if (arguments.is_null()) arguments = OrderedJson::object();
        if (arguments.is_string()) arguments = read_arguments(arguments.get<std::string>());
      }
    }
    input.messages.push_back(std::move(message));
  }
  const auto tools = body.ordered.find("tools");
  if (tools != body.ordered.end() && tools->is_array()) input.tools = *tools;
  const auto kwargs = body.ordered.find("chat_template_kwargs");
  if (kwargs != body.ordered.end() && kwargs->is_object()) input.kwargs = *kwargs;
  if (const Json* documents = field_of(body.json, "documents")) {
    const auto is_object = [](const Json& one) { return one.is_object(); };
    if (!documents->is_array() || !std::ranges::all_of(*documents, is_object))
      bad_field("documents", "expected a list of objects, found {}", describe(*documents));
    if (!input.kwargs.contains("documents"))
      input.kwargs["documents"] = body.ordered.at("documents");
  }
  return input;
}

ChatRequest parse_chat_request(const Body& given, const RequestLimits& limits) {
  const Json& body = given.json;
  check_ignored_fields(body, Api::kChat);
  ChatRequest request;
  request.params = parse_generation(given, limits);
  read_chat_logprobs(body, limits, request.params);
  request.messages = parse_messages(body);
  if (field_of(body, "functions") != nullptr || field_of(body, "function_call") != nullptr)
    bad_field("functions", "not supported: use \"tools\" and \"tool_choice\"");
  request.input = template_input(given, request.messages);
  read_tools(given, request);
  read_field(body, "parallel_tool_calls", request.parallel_tool_calls);
  const ThinkingWish wish = parse_thinking(body);
  const std::optional<ThinkMode> mode = wish.mode ? wish.mode : limits.mode;
  request.mode = mode.value_or(ThinkMode::kSlow);
  // A template has its own idea of what it does where nobody says anything.
  if (mode && *mode != ThinkMode::kAuto) request.input.thinking = *mode == ThinkMode::kSlow;
  if (!wish.effort.empty() && request.input.thinking.value_or(false))
    request.input.kwargs.emplace("reasoning_effort", wish.effort);
  read_thinking_budget(body, request.thinking_budget);
  read_field(body, "include_reasoning", request.include_reasoning);
  read_field(body, "add_generation_prompt", request.add_generation_prompt);
  read_field(body, "continue_final_message", request.continue_final_message);
  if (request.continue_final_message) {
    if (field_of(body, "add_generation_prompt") != nullptr && request.add_generation_prompt)
      bad_field("add_generation_prompt", "not together with continue_final_message");
    request.input.continue_final = true;
    request.add_generation_prompt = false;
    if (request.messages.back().role != "assistant")
      bad_field("continue_final_message", "the last message is not the assistant's");
    if (request.input.messages.back().contains("tool_calls"))
      bad_field("continue_final_message", "the last message ends in calls, not in text");
  }
  request.input.add_generation_prompt = request.add_generation_prompt;
  return request;
}

}  // namespace um
