// See turn_end.h.
#include "text/turn_end.h"

#include <algorithm>

#include "core/error.h"
#include "text/chat.h"
#include "text/tokenizer_impl.h"

namespace um {
namespace {

constexpr const char *kAnswer = "zqanswerqz", *kResult = "zqresultqz";  // in no template

/// The special token that `text` begins with, the longest one; -1 if there is none.
int32_t special_in_front(const Tokenizer& tokenizer, std::string_view text) {
  size_t longest = 0;
  int32_t id = -1;
  for (const SpecialToken& token : tokenizer.impl().specials) {
    if (token.text.size() <= longest || !text.starts_with(token.text)) continue;
    longest = token.text.size();
    id = token.id;
  }
  return id;
}

/// A conversation with the answer, and a question after it unless the answer is `last`.
TemplateInput conversation(bool system, bool last) {
  TemplateInput input;
  input.add_generation_prompt = false;
  const auto add = [&](const char* role, const char* content) {
    input.messages.push_back({{"role", role}, {"content", content}});
  };
  if (system) add("system", "rules");
  add("user", "question");
  add("assistant", kAnswer);
  if (!last) add("user", "another");
  return input;
}

/// Empty where the template refuses the conversation.
std::string rendered(const ChatTemplate& chat, const TemplateInput& input) {
  try {
    return chat.render(input).bytes;
  } catch (const Error&) {
    return {};
  }
}

/// The special token right after the answer, or -1; only white space may be between.
int32_t end_in(const ChatTemplate& chat, const Tokenizer& tokenizer, const TemplateInput& input) {
  const std::string text = rendered(chat, input);
  size_t at = text.rfind(kAnswer);
  if (at == std::string::npos) return -1;
  at = text.find_first_not_of(" \t\r\n", at + std::string_view(kAnswer).size());
  if (at == std::string::npos) return -1;
  return special_in_front(tokenizer, std::string_view(text).substr(at));
}

/// How messages to tools end in families whose answers end otherwise: Llama 3, Solar, gpt-oss, and
/// with what begins the tool's own Gemma 4, GLM, Command R7B.
constexpr std::string_view kToolEnds[] = {"<|eom_id|>",
                                          "<|calls|>",
                                          "<|flush|>",
                                          "<|call|>",
                                          "<|tool_response>",
                                          "<|observation|>",
                                          "<|END_OF_TURN_TOKEN|>"};

/// A call of a tool, and what it gives unless the call is `last`.
TemplateInput conversation_with_call(bool last) {
  TemplateInput input = conversation(false, true);
  const OrderedJson function = {{"name", kAnswer}, {"arguments", OrderedJson::object()}},
                    call = {{"id", "callid001"}, {"type", "function"}, {"function", function}};
  input.messages.back() = {
      {"role", "assistant"}, {"content", ""}, {"tool_calls", OrderedJson::array({call})}};
  const OrderedJson described = {
      {"name", "look"}, {"description", "look"}, {"parameters", {{"type", "object"}}}};
  input.tools = OrderedJson::array({{{"type", "function"}, {"function", described}}});
  if (!last)
    input.messages.push_back(
        {{"role", "tool"}, {"tool_call_id", "callid001"}, {"name", kAnswer}, {"content", kResult}});
  return input;
}

/// Those of these that the template writes behind a call.
std::vector<int32_t> tool_ends(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  std::vector<int32_t> ends;
  for (const bool last : {true, false}) {
    const std::string text = rendered(chat, conversation_with_call(last));
    const size_t call = std::min(text.find(kAnswer), text.size()),
                 result = text.find(kResult, call);
    const std::string_view behind = std::string_view(text).substr(call, result - call);
    for (const std::string_view end : kToolEnds) {
      const int32_t id = special_id(tokenizer, end);
      const bool found = id >= 0 && behind.find(end) != std::string_view::npos;
      if (found && std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
    }
  }
  return ends;
}

int32_t find_end(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  if (chat.is_pangu()) return special_id(tokenizer, kTurnClose);
  for (const bool last : {true, false})
    for (const bool system : {false, true})
      if (const int32_t end = end_in(chat, tokenizer, conversation(system, last)); end >= 0)
        return end;
  return -1;
}

}  // namespace

int32_t special_id(const Tokenizer& tokenizer, std::string_view text) {
  const auto id = tokenizer.id(text);
  return id && tokenizer.is_special(*id) ? *id : -1;
}

std::vector<int32_t> turn_ends(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  const int32_t end = chat.fault().empty() ? find_end(chat, tokenizer) : -1;
  if (end < 0) return {};
  std::vector<int32_t> ends = tool_ends(chat, tokenizer);
  // Of Llama 3 no conversation shows it: it is for the tools that are built in.
  const int32_t to_tool = special_id(tokenizer, "<|eom_id|>");
  if (to_tool >= 0 && end == special_id(tokenizer, "<|eot_id|>")) ends.push_back(to_tool);
  std::erase(ends, end);
  ends.insert(ends.begin(), end);
  return ends;
}

}  // namespace um
