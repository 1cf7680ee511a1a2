// See turn_end.h.
#include "text/turn_end.h"

#include "core/error.h"
#include "text/chat.h"
#include "text/tokenizer_impl.h"

namespace um {
namespace {

constexpr const char* kAnswer = "zqanswerqz";  // in no template

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

/// The special token right after the answer, or -1; only white space may be between.
int32_t end_in(const ChatTemplate& chat, const Tokenizer& tokenizer, const TemplateInput& input) {
  std::string text;
  try {
    text = chat.render(input).bytes;
  } catch (const Error&) {  // a template may refuse a conversation
    return -1;
  }
  size_t at = text.rfind(kAnswer);
  if (at == std::string::npos) return -1;
  at = text.find_first_not_of(" \t\r\n", at + std::string_view(kAnswer).size());
  if (at == std::string::npos) return -1;
  return special_in_front(tokenizer, std::string_view(text).substr(at));
}

/// How messages to tools end in families whose answers end otherwise: Llama 3, Solar, gpt-oss.
constexpr std::string_view kToolEnds[] = {"<|eom_id|>", "<|calls|>", "<|call|>"};

/// The one of these that the template writes behind a call, or -1.
int32_t tool_end(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  TemplateInput input = conversation(false, true);
  const OrderedJson function = {{"name", "look"}, {"arguments", OrderedJson::object()}};
  input.messages.back() = {
      {"role", "assistant"},
      {"content", ""},
      {"tool_calls",
       OrderedJson::array({{{"id", "callid001"}, {"type", "function"}, {"function", function}}})}};
  input.tools = OrderedJson::array(
      {{{"type", "function"},
        {"function",
         {{"name", "look"}, {"description", "look"}, {"parameters", {{"type", "object"}}}}}}});
  std::string text;
  try {
    text = chat.render(input).bytes;
  } catch (const Error&) {
    return -1;
  }
  text.resize(text.find_last_not_of(" \t\r\n") + 1);
  for (const std::string_view end : kToolEnds)
    if (text.ends_with(end)) return special_id(tokenizer, end);
  return -1;
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
  // Of Llama 3 no conversation shows it: it is for the tools that are built in.
  int32_t to_tool = special_id(tokenizer, "<|eom_id|>");
  if (end != special_id(tokenizer, "<|eot_id|>")) to_tool = tool_end(chat, tokenizer);
  if (to_tool < 0 || to_tool == end) return {end};
  return {end, to_tool};
}

}  // namespace um
