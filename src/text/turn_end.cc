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
  // Llama 3 ends a message to a tool in its own way, which no plain conversation shows.
  const int32_t to_tool = special_id(tokenizer, "<|eom_id|>");
  if (to_tool >= 0 && end == special_id(tokenizer, "<|eot_id|>")) return {end, to_tool};
  return {end};
}

}  // namespace um
