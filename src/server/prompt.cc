// See prompt.h.
#include "server/prompt.h"

#include <fmt/format.h>

#include "server/api_error.h"
#include "server/call_probe.h"

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

/// Tools are described by us where the template does not know of any, and how they are called in
/// the form that answers are read in.
TemplateInput input_of(const ChatTemplate& form, const ChatRequest& request) {
  TemplateInput input = request.input;
  if (input.tools.empty() || form.mentions("tools")) return input;
  std::string text = "You can call these functions:\n<tools>\n";
  for (const auto& tool : input.tools) text += tool.dump() + "\n";
  text += "</tools>\nTo call one, answer with its name and arguments:\n" +
          call_example(find_call_form(form));
  OrderedJson& messages = input.messages;
  if (messages.empty() || (messages[0]["role"] != "system" && messages[0]["role"] != "developer"))
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", ""}});
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
// known (interop.md 4.1). The descriptions are the client's text, so they stay plain; the marks of
// a call are ours, so they are the special tokens.
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

std::string chat_prompt_text(const ChatTemplate& form, const ChatRequest& request) {
  return checked([&] {
    return form.is_pangu() ? chat_prompt_text(request) : form.render(input_of(form, request)).bytes;
  });
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
