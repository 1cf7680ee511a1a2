// See chat.h.
#include "text/chat.h"

#include <array>

#include "core/error.h"

namespace um {

const std::string_view kChatTemplate =
    "{%- if messages[0]['role'] != 'system' -%}{{- '[unused9]系统：[unused10]' -}}{%- endif -%}"
    "{%- set names = {'system': '系统', 'user': '用户', 'assistant': '助手', 'tool': '工具', "
    "'function': '方法'} -%}"
    "{%- for m in messages -%}"
    "{{- '[unused9]' + names[m['role']] + '：' + m['content'] + '[unused10]' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '[unused9]助手：' -}}{%- endif -%}";

namespace {

constexpr std::string_view kColon = "：";
constexpr std::string_view kAssistant = "助手";

/// One turn before it is written.
struct Turn {
  std::string head = {};      // with thinking: role, colon
  std::string thinking = {};  // between the marks of thinking; empty: none
  std::string body;           // content; without thinking: role, colon, content
  std::string trusted = {};   // behind it
  bool parse_special;         // special tokens in the body count
  bool closed = true;
};

std::string_view role_name(std::string_view role) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kRoles = {
      {{"system", "系统"},
       {"user", "用户"},
       {"assistant", kAssistant},
       {"tool", "工具"},
       {"function", "方法"}}};
  for (const auto& [name, written] : kRoles) {
    if (name == role) return written;
  }
  fail("chat: role \"{}\", expected system, user, assistant, tool or function", role);
}

std::string_view mode_mark(ThinkMode mode) {
  if (mode == ThinkMode::kFast) return " /no_think";
  return mode == ThinkMode::kAuto ? " /auto_think" : "";
}

std::vector<Turn> make_turns(const std::vector<Message>& messages, const ChatOptions& options) {
  std::vector<Turn> turns;
  const auto add = [&](std::string_view role, std::string_view content) -> Turn& {
    turns.push_back({.body = fmt::format("{}{}{}", role_name(role), kColon, content),
                     .parse_special = role == "assistant" && !options.plain_assistant});
    return turns.back();
  };
  size_t last_user = messages.size();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == "user") last_user = i;
  }
  if (messages.empty() || messages[0].role != "system") add("system", "");
  for (size_t i = 0; i < messages.size(); ++i) {
    Turn& turn = add(messages[i].role, messages[i].content);
    const std::string_view mark = mode_mark(options.mode);
    if (i == last_user && !turn.body.ends_with(mark)) turn.body += mark;
    turn.trusted = messages[i].trusted;
    if (messages[i].thinking.empty()) continue;
    turn.head = turn.body.substr(0, turn.body.size() - messages[i].content.size());
    turn.thinking = messages[i].thinking;
    turn.body = messages[i].content;
  }
  if (options.add_generation_prompt)
    add("assistant", "").closed = false;
  else if (options.continue_final)
    turns.back().closed = false;
  return turns;
}

int32_t need(const Tokenizer& tokenizer, std::string_view token) {
  const auto id = tokenizer.id(token);
  UM_CHECK(id && tokenizer.is_special(*id),
           "chat: the tokenizer has no special token {}; train it with the Pangu special tokens",
           token);
  return *id;
}

}  // namespace

ThinkMode parse_think_mode(std::string_view name) {
  if (name == "slow") return ThinkMode::kSlow;
  if (name == "fast") return ThinkMode::kFast;
  if (name == "auto") return ThinkMode::kAuto;
  throw UsageError(fmt::format("thinking mode \"{}\", expected slow, fast or auto", name));
}

std::optional<ThinkMode> parse_optional_mode(std::string_view name) {
  if (name == "default") return {};
  return parse_think_mode(name);
}

std::string apply_chat_template(const std::vector<Message>& messages, const ChatOptions& options) {
  std::string text;
  for (const Turn& turn : make_turns(messages, options)) {
    text.append(kTurnOpen).append(turn.head);
    if (!turn.thinking.empty()) text.append(kThinkOpen).append(turn.thinking).append(kThinkClose);
    text.append(turn.body).append(turn.trusted);
    if (turn.closed) text.append(kTurnClose);
  }
  return text;
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const std::vector<Message>& messages,
                                 const ChatOptions& options) {
  const int32_t open = need(tokenizer, kTurnOpen), close = need(tokenizer, kTurnClose);
  std::vector<int32_t> ids = tokenizer.front();
  const auto add = [&](std::string_view text, bool parse_special) {
    const auto part = tokenizer.encode(text, {.parse_special = parse_special});
    ids.insert(ids.end(), part.begin(), part.end());
  };
  for (const Turn& turn : make_turns(messages, options)) {
    ids.push_back(open);
    if (!turn.thinking.empty()) {
      add(turn.head, false);
      ids.push_back(need(tokenizer, kThinkOpen));
      add(turn.thinking, false);
      ids.push_back(need(tokenizer, kThinkClose));
    }
    add(turn.body, turn.parse_special);
    add(turn.trusted, true);
    if (turn.closed) ids.push_back(close);
  }
  return ids;
}

Answer split_answer(std::string_view generated) {
  Answer answer;
  const size_t end = generated.find(kTurnClose);
  answer.finished = end != std::string_view::npos;
  std::string_view rest = generated.substr(0, end);
  const size_t close = rest.rfind(kThinkClose);
  const bool opened = rest.starts_with(kThinkOpen);
  if (opened) rest.remove_prefix(kThinkOpen.size());
  if (close != std::string_view::npos) {
    const size_t length = close - (opened ? kThinkOpen.size() : 0);
    answer.thinking = rest.substr(0, length);
    answer.text = rest.substr(length + kThinkClose.size());
  } else {
    (opened ? answer.thinking : answer.text) = rest;
  }
  return answer;
}

}  // namespace um
