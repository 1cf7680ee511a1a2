// See chat_marks.h. The table of marks: docs/templates.md.
#include "server/chat_marks.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/error.h"
#include "server/call_probe.h"
#include "text/chat.h"
#include "text/probe_work.h"
#include "text/turn_end.h"

namespace um {
namespace {

// Marks of thinking, where the template writes the second one.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kThinking = {
    {{kThinkOpen, kThinkClose},
     {"<seed:think>", "</seed:think>"},
     {"[THINK]", "[/THINK]"},
     {"<|START_THINKING|>", "<|END_THINKING|>"},
     {"<think:opensource>", "</think:opensource>"},
     {"<mm:think>", "</mm:think>"},
     {"<|inner_prefix|>", "<|inner_suffix|>"},
     {"<think>", "</think>"}}};

/// Thinking that both marks are tokens for is told by them, else it is looked for in the text.
void set_thinking(ChatMarks& marks, const Tokenizer& tokenizer, std::string_view open,
                  std::string_view close) {
  marks.think_open_text = open, marks.think_close_text = close;
  marks.think_open = special_id(tokenizer, open);
  marks.think_close = special_id(tokenizer, close);
  if (marks.think_open < 0 || marks.think_close < 0) marks.think_open = marks.think_close = -1;
}

/// Finds the form of calls, and the ends of turns for `marks`; or why they are not known.
CallForm probe(ChatMarks& marks, const Tokenizer& tokenizer, const ChatTemplate& chat_template) {
  const ProbeWork work;
  CallForm calls;
  try {
    calls = find_call_form(chat_template);
    marks.turn_closes = turn_ends(chat_template, tokenizer);
  } catch (const Error&) {
    if (!work.used_up()) throw;
  }
  if (work.used_up())
    marks.fault =
        "the chat template takes too long even for short conversations: how the model calls "
        "tools and ends its turns is not known";
  return calls;
}

}  // namespace

ChatMarks ChatMarks::of(const Tokenizer& tokenizer, const ChatTemplate& chat_template) {
  ChatMarks marks;
  CallForm calls = probe(marks, tokenizer, chat_template);
  marks.calls = for_tokenizer(std::move(calls), tokenizer);
  marks.told_calls = !chat_template.is_pangu() && !chat_template.mentions("tools");
  const std::string& source = chat_template.source();
  if (source.empty()) {
    if (special_id(tokenizer, kThinkClose) >= 0)
      set_thinking(marks, tokenizer, kThinkOpen, kThinkClose);
    return marks;
  }
  const auto written = [&](std::string_view text) {
    return source.find(text) != std::string::npos;
  };
  marks.trim = true;
  const auto* found = std::find_if(kThinking.begin(), kThinking.end(),
                                   [&](const auto& pair) { return written(pair.second); });
  // Templates need not mention marks that their models have as tokens.
  if (found != kThinking.end() || special_id(tokenizer, kThinking.back().second) >= 0)
    set_thinking(marks, tokenizer, found != kThinking.end() ? found->first : kThinking.back().first,
                 found != kThinking.end() ? found->second : kThinking.back().second);
  return marks;
}

ChatMarks ChatMarks::of(const Tokenizer& tokenizer, std::string_view source) {
  return of(tokenizer,
            ChatTemplate::from_source(std::string(source), "the chat template", tokenizer));
}

bool ChatMarks::opens_thinking(const Tokenizer& tokenizer,
                               const std::vector<int32_t>& prompt) const {
  bool thinking = false;
  if (think_open >= 0) {
    for (const int32_t id : prompt) {
      const bool closes = id == think_close || std::find(turn_closes.begin(), turn_closes.end(),
                                                         id) != turn_closes.end();
      thinking = id == think_open || (thinking && !closes);
    }
  } else if (!think_open_text.empty()) {
    const size_t tail = std::min<size_t>(prompt.size(), 64);
    std::string text =
        tokenizer.decode({prompt.end() - static_cast<ptrdiff_t>(tail), prompt.end()}, false);
    text.resize(text.find_last_not_of(" \n") + 1);
    thinking = text.ends_with(think_open_text);
  }
  return thinking;
}

}  // namespace um
