// See chat_records.h.
#include "post/chat_records.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/error.h"
#include "core/json.h"
#include "core/ordered_json.h"
#include "data/text_file.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{8} << 30;

/// For messages: the start of a value.
std::string describe(const OrderedJson& value) {
  return um::describe(
      Json::parse(value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace)));
}

const OrderedJson* find(const OrderedJson& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// The text of a field; throws for anything else.
const std::string& text_of(const OrderedJson& object, std::string_view key) {
  const OrderedJson* value = find(object, key);
  UM_CHECK(value != nullptr, "field \"{}\": missing", key);
  UM_CHECK(value->is_string(), "field \"{}\": expected a text, found {}", key, describe(*value));
  return value->get_ref<const std::string&>();
}

const OrderedJson& list_of(const OrderedJson& object, std::string_view key) {
  const OrderedJson& value = object.at(std::string(key));
  UM_CHECK(value.is_array() && !value.empty(),
           "field \"{}\": expected a list of messages, found {}", key, describe(value));
  return value;
}

/// JSON in a text, as some files have tools and calls.
OrderedJson parsed(const OrderedJson& value, const std::string& where) {
  if (!value.is_string()) return value;
  return parse_ordered_json(value.get_ref<const std::string&>(), where);
}

OrderedJson call_of(OrderedJson function) {
  return {{"id", "call_0"}, {"type", "function"}, {"function", std::move(function)}};
}

/// A tool as requests have it, from that or from a function alone.
OrderedJson tool_of(const OrderedJson& tool) {
  if (tool.is_object() && tool.contains("function")) return tool;
  return {{"type", "function"}, {"function", tool}};
}

/// A list of tools, also as a text.
OrderedJson tools_of(const OrderedJson& value, const std::string& where) {
  OrderedJson tools = OrderedJson::array();
  const OrderedJson list = parsed(value, where);
  UM_CHECK(list.is_array(), "field \"{}\": expected a list, found {}", where, describe(list));
  for (const OrderedJson& tool : list) tools.push_back(tool_of(tool));
  return tools;
}

/// A message of the older kind, with a call of a function, as one of today's.
void modernize(OrderedJson& message) {
  if (const OrderedJson* call = find(message, "function_call")) {
    message["tool_calls"] = OrderedJson::array({call_of(*call)});
    message.erase("function_call");
  }
  if (message.value("role", "") == "function") message["role"] = "tool";
}

/// Whether a message's `weight` (OpenAI's) leaves it out.
bool is_learnt(OrderedJson& message) {
  bool learnt = message.value("role", "") == "assistant";
  if (const OrderedJson* weight = find(message, "weight")) {
    UM_CHECK(*weight == 0 || *weight == 1, "field \"weight\": expected 0 or 1, found {}",
             describe(*weight));
    learnt = learnt && *weight == 1;
  }
  message.erase("weight");
  return learnt;
}

void add_message(ChatRecord& record, OrderedJson message, bool learn = true) {
  UM_CHECK(message.is_object(), "messages: expected objects, found {}", describe(message));
  UM_CHECK(find(message, "role") != nullptr && message["role"].is_string(), "messages[{}]: no role",
           record.learnt.size());
  modernize(message);
  record.learnt.push_back(is_learnt(message) && learn);
  record.body["messages"].push_back(std::move(message));
}

void add_text(ChatRecord& record, const char* role, const std::string& text) {
  add_message(record, {{"role", role}, {"content", text}});
}

/// What counts of a request beside its messages, and how it is to think: `mode` as one word.
void take_rest(const OrderedJson& json, ChatRecord& record) {
  for (const char* key : {"tools", "functions"})
    if (const OrderedJson* tools = find(json, key); tools != nullptr && !tools->empty())
      record.body["tools"] = tools_of(*tools, key);
  for (const char* key : {"chat_template_kwargs", "reasoning_effort"})
    if (const OrderedJson* value = find(json, key)) record.body[key] = *value;
  if (find(json, "mode") != nullptr) {
    const std::string& mode = text_of(json, "mode");
    UM_CHECK(mode == "slow" || mode == "fast" || mode == "auto",
             "field \"mode\": expected slow, fast or auto, found {}", quote(mode));
    OrderedJson& kwargs = record.body["chat_template_kwargs"];
    UM_CHECK(kwargs.is_null() || kwargs.is_object(),
             "field \"chat_template_kwargs\": expected an object, found {}", describe(kwargs));
    kwargs["mode"] = mode;
  }
}

/// A system's text beside the messages.
void add_system(const OrderedJson& json, ChatRecord& record) {
  if (find(json, "system") != nullptr && !text_of(json, "system").empty())
    add_text(record, "system", text_of(json, "system"));
}

Record read_messages(const OrderedJson& json) {
  ChatRecord record;
  take_rest(json, record);
  const OrderedJson& messages = list_of(json, "messages");
  add_system(json, record);
  for (const OrderedJson& message : messages) add_message(record, message);
  return record;
}

// ---- ShareGPT ----

/// Who speaks, by the names that such files use; null for others.
const char* share_role(std::string_view from) {
  static constexpr std::array<std::pair<std::string_view, const char*>, 15> kRoles = {
      {{"human", "user"},
       {"user", "user"},
       {"gpt", "assistant"},
       {"assistant", "assistant"},
       {"model", "assistant"},
       {"chatgpt", "assistant"},
       {"bing", "assistant"},
       {"bard", "assistant"},
       {"system", "system"},
       {"developer", "developer"},
       {"tool", "tool"},
       {"observation", "tool"},
       {"function_response", "tool"},
       {"function", "tool"},
       {"function_call", "function_call"}}};
  for (const auto& [name, role] : kRoles)
    if (name == from) return role;
  return nullptr;
}

/// A call in a text: {"name", "arguments"}, or a list of such.
OrderedJson calls_in(const std::string& text) {
  const OrderedJson value = parse_ordered_json(text, "value");
  OrderedJson calls = OrderedJson::array();
  for (const OrderedJson& call : value.is_array() ? value : OrderedJson::array({value})) {
    UM_CHECK(call.is_object() && call.contains("name"), "a call without a name: {}",
             describe(call));
    calls.push_back(call_of(call));
  }
  return calls;
}

/// Splits an answer that ends in <tool_call>{…}</tool_call> blocks into what it says and the calls;
/// nothing where there are none, or one is no JSON.
std::optional<OrderedJson> with_calls(const std::string& text) {
  constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
  size_t at = text.find(kOpen);
  if (at == std::string::npos) return {};
  std::string said = text.substr(0, at);
  said.resize(said.find_last_not_of(" \t\r\n") + 1);
  OrderedJson message = {{"role", "assistant"}, {"content", said}};
  OrderedJson& calls = message["tool_calls"] = OrderedJson::array();
  while (at != std::string::npos) {
    const size_t close = text.find(kClose, at);
    if (close == std::string::npos) return {};
    try {
      const size_t begin = at + kOpen.size();
      for (OrderedJson& call : calls_in(text.substr(begin, close - begin))) calls.push_back(call);
    } catch (const Error&) {
      return {};
    }
    at = text.find_first_not_of(" \t\r\n", close + kClose.size());
    if (at != std::string::npos && text.compare(at, kOpen.size(), kOpen) != 0) return {};
  }
  return message;
}

void add_share_turn(ChatRecord& record, const OrderedJson& turn) {
  if (turn.is_object() && turn.contains("role")) return add_message(record, turn);
  const std::string& from = text_of(turn, "from");
  const char* role = share_role(from);
  UM_CHECK(role != nullptr, "field \"from\": {}: expected human, gpt, system, tool or their like",
           quote(from));
  const std::string& value = text_of(turn, "value");
  OrderedJson message = {{"role", role}, {"content", value}};
  if (message["role"] == "function_call")
    message = {{"role", "assistant"}, {"content", ""}, {"tool_calls", calls_in(value)}};
  else if (message["role"] == "assistant")
    message = with_calls(value).value_or(std::move(message));
  for (const char* key : {"weight", "reasoning_content"})
    if (find(turn, key) != nullptr) message[key] = turn[key];
  add_message(record, std::move(message));
}

Record read_conversations(const OrderedJson& json) {
  ChatRecord record;
  take_rest(json, record);
  const OrderedJson& turns = list_of(json, "conversations");
  add_system(json, record);
  for (const OrderedJson& turn : turns) add_share_turn(record, turn);
  return record;
}

// ---- pairs ----

Record read_prompt(const OrderedJson& json) {
  const OrderedJson& prompt = json.at("prompt");
  const OrderedJson* completion = find(json, "completion");
  UM_CHECK(completion != nullptr, "field \"completion\": missing");
  if (prompt.is_string()) return PlainRecord{text_of(json, "prompt"), text_of(json, "completion")};
  UM_CHECK(completion->is_array(),
           "field \"completion\": expected messages as in \"prompt\", found {}",
           describe(*completion));
  ChatRecord record;
  take_rest(json, record);
  for (const OrderedJson& message : list_of(json, "prompt")) add_message(record, message, false);
  for (const OrderedJson& message : list_of(json, "completion")) add_message(record, message);
  return record;
}

Record read_alpaca(const OrderedJson& json) {
  ChatRecord record;
  take_rest(json, record);
  add_system(json, record);
  if (const OrderedJson* history = find(json, "history")) {
    for (const OrderedJson& turn : *history) {
      UM_CHECK(turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string(),
               "field \"history\": expected pairs of texts, found {}", describe(turn));
      add_text(record, "user", turn[0].get<std::string>());
      add_text(record, "assistant", turn[1].get<std::string>());
    }
  }
  std::string asked = text_of(json, "instruction");
  if (find(json, "input") != nullptr && !text_of(json, "input").empty())
    asked += (asked.empty() ? "" : "\n\n") + text_of(json, "input");
  add_text(record, "user", asked);
  add_text(record, "assistant", text_of(json, "output"));
  return record;
}

Record read_pair(const OrderedJson& json, const char* question, const char* answer) {
  ChatRecord record;
  take_rest(json, record);
  add_text(record, "user", text_of(json, question));
  add_text(record, "assistant", text_of(json, answer));
  return record;
}

std::string names_of(const OrderedJson& json) {
  std::string names;
  for (const auto& [key, value] : json.items()) names += (names.empty() ? "" : ", ") + quote(key);
  return names.empty() ? "none" : names;
}

}  // namespace

void ChatRecord::keep_last() {
  bool later = false;
  for (size_t i = learnt.size(); i-- > 0;) {
    learnt[i] = learnt[i] && !later;
    later = later || learnt[i];
  }
}

Record read_record(const OrderedJson& json) {
  UM_CHECK(json.is_object(), "expected an object, found {}", describe(json));
  UM_CHECK(find(json, "rejected") == nullptr,
           "a record of preferences (\"chosen\", \"rejected\"), which is not for fine-tuning");
  if (find(json, "messages") != nullptr) return read_messages(json);
  if (find(json, "conversations") != nullptr) return read_conversations(json);
  if (find(json, "instruction") != nullptr) return read_alpaca(json);
  static constexpr std::pair<const char*, const char*> kPairs[] = {
      {"question", "answer"}, {"query", "response"}, {"prompt", "response"}};
  for (const auto& [question, answer] : kPairs)
    if (find(json, question) != nullptr && find(json, answer) != nullptr)
      return read_pair(json, question, answer);
  if (find(json, "prompt") != nullptr) return read_prompt(json);
  if (find(json, "text") != nullptr) return PlainRecord{{}, text_of(json, "text")};
  fail(
      "no form that is known: its fields are {}; expected \"messages\", \"conversations\", "
      "\"prompt\" and \"completion\", \"instruction\" and \"output\", \"question\" and \"answer\", "
      "or \"text\"",
      names_of(json));
}

void split_thinking(ChatRecord& record) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>", kSpace = " \t\r\n";
  for (OrderedJson& message : record.body["messages"]) {
    if (message["role"] != "assistant" || find(message, "reasoning_content") != nullptr) continue;
    const OrderedJson* content = find(message, "content");
    if (content == nullptr || !content->is_string()) continue;
    const std::string text = content->get<std::string>();
    const size_t open = text.find_first_not_of(kSpace), close = text.find(kClose);
    if (open == std::string::npos || close == std::string::npos ||
        text.compare(open, kOpen.size(), kOpen) != 0)
      continue;
    const auto trim = [&](std::string_view part) {
      const size_t begin = std::min(part.find_first_not_of(kSpace), part.size());
      const size_t end = part.find_last_not_of(kSpace);
      return std::string(part.substr(begin, end == std::string::npos ? 0 : end + 1 - begin));
    };
    const size_t begin = open + kOpen.size();
    const std::string thought = trim(std::string_view(text).substr(begin, close - begin));
    if (!thought.empty()) message["reasoning_content"] = thought;
    const size_t said = text.find_first_not_of(kSpace, close + kClose.size());
    message["content"] = said == std::string::npos ? "" : text.substr(said);
  }
}

void for_each_record(const std::filesystem::path& path,
                     const std::function<void(const OrderedJson&, const std::string&)>& visit,
                     const std::function<void(const std::string&)>& bad) {
  const std::string text = read_text_file(path, kMaxFileBytes);
  const size_t first = text.find_first_not_of(" \t\n");
  const bool lines = path.filename().string().find(".jsonl") != std::string::npos;
  if (!lines && first != std::string::npos && text[first] == '[') {
    const OrderedJson all = parse_ordered_json(repair_json(text), path.string());
    for (size_t i = 0; i < all.size(); ++i) visit(all[i], fmt::format("{}[{}]", path.string(), i));
    return;
  }
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", path.string(), number);
    OrderedJson json;
    try {
      json = parse_ordered_json(repair_json(line), where);
    } catch (const Error& error) {
      bad(error.what());
      continue;
    }
    visit(json, where);
  }
}

}  // namespace um
