// See prompt.h.
#include "server/prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/stop_scope.h"
#include "server/api_error.h"
#include "server/call_probe.h"
#include "text/probe_work.h"

namespace um {
namespace {

ChatOptions options_of(const ChatRequest& request) {
  return {.add_generation_prompt = request.add_generation_prompt,
          .continue_final = request.continue_final_message,
          .plain_assistant = true,
          .mode = request.mode};
}

std::vector<Message> messages_of(const ChatRequest& request) {
  if (request.tool_choice.kind == ToolChoice::kNone) return request.messages;
  return with_tools(request.messages, request.tools);
}

bool has_calls(const OrderedJson& message) {
  return message.contains("tool_calls") && message["tool_calls"].is_array() &&
         !message["tool_calls"].empty();
}

/// A name that no text has.
std::string unique_name(size_t message, size_t call) {
  return fmt::format("umcall{}of{}q", call, message);
}

/// Whether the template leaves out some of a message's calls, for each message.
std::vector<bool> lost_calls(const ChatTemplate& form, TemplateInput input) {
  std::vector<bool> lost(input.messages.size(), false);
  for (size_t i = 0; i < lost.size(); ++i) {
    if (!has_calls(input.messages[i])) continue;
    lost[i] = true;
    OrderedJson& calls = input.messages[i]["tool_calls"];
    for (size_t k = 0; k < calls.size(); ++k) calls[k]["function"]["name"] = unique_name(i, k);
  }
  if (std::find(lost.begin(), lost.end(), true) == lost.end()) return lost;
  const std::string text = form.render(input).bytes;
  constexpr size_t kStep = 4096;  // bytes that are searched in a microsecond
  const auto written = [&](size_t i) {
    for (size_t k = 0; k < input.messages[i]["tool_calls"].size(); ++k) {
      check_stop(1 + text.size() / kStep);
      if (text.find(unique_name(i, k)) == std::string::npos) return false;
    }
    return true;
  };
  for (size_t i = 0; i < lost.size(); ++i) lost[i] = lost[i] && !written(i);
  return lost;
}

/// A message's calls move into its text, in the form that answers are read in.
void write_into_content(OrderedJson& message, const CallForm& form) {
  std::vector<Call> calls;
  for (const OrderedJson& call : message["tool_calls"])
    calls.push_back({call["function"]["name"].get<std::string>(), call["function"]["arguments"]});
  const std::string said =
      message.contains("content") ? content_text(message["content"]) : std::string();
  message["content"] = (said.empty() ? "" : said + "\n") + form.plain(write_calls(form, calls));
  message.erase("tool_calls");
}

CallForm call_form_of(const ChatTemplate& form) {
  const ProbeWork work;
  return find_call_form(form);
}

/// Calls that the template does not write are told as text, so that none vanishes.
void keep_calls(const ChatTemplate& form, TemplateInput& input) {
  const std::vector<bool> lost = lost_calls(form, input);
  for (size_t i = 0; i < lost.size(); ++i) {
    if (!lost[i]) continue;
    const CallForm calls = call_form_of(form);
    if (!calls.readable())
      throw ApiError(400,
                     fmt::format("the chat template leaves out the tool_calls of messages[{}], and "
                                 "writes calls in no form that is known",
                                 i),
                     "messages");
    write_into_content(input.messages[i], calls);
  }
}

/// Whether the template shows what a system message says.
bool takes_system(const ChatTemplate& form) {
  const ProbeWork work;
  constexpr const char* kSaid = "umsystemq";
  TemplateInput input;
  input.messages.push_back({{"role", "system"}, {"content", kSaid}});
  input.messages.push_back({{"role", "user"}, {"content", "question"}});
  input.add_generation_prompt = true;
  try {
    return form.render(input).bytes.find(kSaid) != std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

/// Puts the text in front of the user's first message.
void tell_with_question(OrderedJson& messages, const std::string& text) {
  const auto user = std::find_if(messages.begin(), messages.end(),
                                 [](const OrderedJson& one) { return one["role"] == "user"; });
  if (user == messages.end())
    throw ApiError(400,
                   "tools: the chat template takes no system message, and there is no message of "
                   "the user in which they could be described",
                   "tools");
  OrderedJson& content = (*user)["content"];
  if (content.is_array())
    content.insert(content.begin(), OrderedJson{{"type", "text"}, {"text", text}});
  else
    content = text + "\n\n" + content_text(content);
}

/// Tools are described by us where the template does not know of any, and how they are called in
/// the form that answers are read in.
TemplateInput input_of(const ChatTemplate& form, const ChatRequest& request) {
  TemplateInput input = request.input;
  keep_calls(form, input);
  if (input.tools.empty() || form.mentions("tools")) return input;
  std::string text = "You can call these functions:\n<tools>\n";
  for (const auto& tool : input.tools) text += tool.dump() + "\n";
  text += "</tools>\nTo call one, answer with its name and arguments:\n" +
          call_example(call_form_of(form));
  OrderedJson& messages = input.messages;
  if (messages.empty() || (messages[0]["role"] != "system" && messages[0]["role"] != "developer")) {
    if (!takes_system(form)) {
      tell_with_question(messages, text);
      return input;
    }
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", ""}});
  }
  auto& content = messages[0]["content"];
  const std::string told = content_text(content);
  content = told.empty() ? text : told + "\n\n" + text;
  return input;
}

/// What goes wrong in a template is for the client to know.
template <class Make>
auto checked(Make make) {
  try {
    return make();
  } catch (const ApiError&) {
    throw;
  } catch (const TooManyTokens&) {
    throw;
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "messages");
  }
}

}  // namespace

// The published template does not say how tools are described; only what a call looks like is
// known (docs/tokenizers.md). The descriptions are the client's text, so they stay plain; the marks
// of a call are ours, so they are the special tokens.
std::vector<Message> with_tools(std::vector<Message> messages, const std::vector<Tool>& tools) {
  if (tools.empty()) return messages;
  std::string text =
      "You can call these tools, each with a JSON schema of its arguments:\n<tools>\n";
  for (const Tool& tool : tools) {
    text += fmt::format("{{\"name\": {}, ", to_text(tool.name));
    if (!tool.description.empty())
      text += fmt::format("\"description\": {}, ", to_text(tool.description));
    text += fmt::format("\"parameters\": {}}}\n", tool.parameters);
  }
  text += "</tools>\nTo call tools, answer with a JSON list of the calls:";
  if (messages.empty() || messages[0].role != "system")
    messages.insert(messages.begin(), {.role = "system", .content = {}});
  Message& system = messages[0];
  if (!system.content.empty()) system.content += "\n\n";
  system.content += text;
  system.trusted = call_example(call_form_named("pangu"));
  return messages;
}

MarkedText marked_prompt(const ChatTemplate& form, const ChatRequest& request) {
  return checked([&] { return form.render(input_of(form, request)); });
}

std::string chat_prompt_text(const ChatTemplate& form, const ChatRequest& request) {
  if (form.is_pangu()) return checked([&] { return chat_prompt_text(request); });
  return marked_prompt(form, request).bytes;
}

std::vector<int32_t> chat_prompt(const ChatTemplate& form, const Tokenizer& tokenizer,
                                 const ChatRequest& request) {
  return checked([&] {
    return form.is_pangu() ? chat_prompt(tokenizer, request)
                           : form.encode(tokenizer, input_of(form, request));
  });
}

std::string chat_prompt_text(const ChatRequest& request) {
  return apply_chat_template(messages_of(request), options_of(request));
}

std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, const ChatRequest& request) {
  return encode_chat(tokenizer, messages_of(request), options_of(request));
}

}  // namespace um
