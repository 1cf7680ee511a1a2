// See chat_marks.h. Facts: interop.md 4.1 and 4.2, docs/templates.md.
#include "server/chat_marks.h"

#include <algorithm>
#include <array>

#include "text/chat.h"
#include "text/turn_end.h"

namespace um {
namespace {

int32_t special_id(const Tokenizer& tokenizer, std::string_view mark) {
  const auto found = tokenizer.id(mark);
  return found && tokenizer.is_special(*found) ? *found : -1;
}

ChatMarks pangu_marks(const Tokenizer& tokenizer) {
  ChatMarks marks;
  if (const int32_t close = special_id(tokenizer, kTurnClose); close >= 0)
    marks.turn_closes = {close};
  marks.think_open = special_id(tokenizer, kThinkOpen);
  marks.think_close = special_id(tokenizer, kThinkClose);
  marks.tool_open = special_id(tokenizer, kToolOpen);
  marks.tool_close = special_id(tokenizer, kToolClose);
  return marks;
}

/// Marks of calls, by what the template has.
struct Calls {
  const char* evidence;  // in the template's source
  const char *open, *close;
  CallSyntax syntax;
};
constexpr std::array<Calls, 6> kCalls = {
    {{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
      CallSyntax::kDeepSeek},
     {"<|tool_call_start|>", "<|tool_call_start|>", "<|tool_call_end|>", CallSyntax::kList},
     {"<tool_call>", "<tool_call>", "</tool_call>", CallSyntax::kObject},
     {"[unused11]", "[unused11]", "[unused12]", CallSyntax::kList},
     {"[TOOL_CALLS]", "[TOOL_CALLS]", "", CallSyntax::kList},
     {"<|start_header_id|>", "<|python_tag|>", "", CallSyntax::kLlama}}};

}  // namespace

ChatMarks ChatMarks::of(const Tokenizer& tokenizer, std::string_view source) {
  if (source.empty()) return pangu_marks(tokenizer);
  const auto written = [&](std::string_view text) {
    return source.find(text) != std::string_view::npos;
  };
  ChatMarks marks;
  marks.trim = true;
  marks.turn_closes = turn_ends(
      ChatTemplate::from_source(std::string(source), "chat template", tokenizer), tokenizer);
  const bool pangu = written("[unused16]");
  const std::string open(pangu ? kThinkOpen : "<think>"), close(pangu ? kThinkClose : "</think>");
  marks.think_open = special_id(tokenizer, open);
  marks.think_close = special_id(tokenizer, close);
  if (marks.think_open < 0 || marks.think_close < 0) {
    marks.think_open = marks.think_close = -1;
    if (written(close)) marks.think_open_text = open, marks.think_close_text = close;
  }
  const auto* calls = std::find_if(kCalls.begin(), kCalls.end(),
                                   [&](const Calls& c) { return written(c.evidence); });
  if (calls == kCalls.end()) calls = &kCalls[2];  // what we tell models whose template has no tools
  marks.calls = calls->syntax;
  marks.tool_open = special_id(tokenizer, calls->open);
  marks.tool_close = special_id(tokenizer, calls->close);
  const bool paired = calls->close[0] == '\0' || marks.tool_close >= 0;
  if (marks.tool_open < 0 || !paired) {
    marks.tool_open = marks.tool_close = -1;
    if (marks.calls != CallSyntax::kLlama)
      marks.tool_open_text = calls->open, marks.tool_close_text = calls->close;
  }
  if (marks.calls == CallSyntax::kDeepSeek) {
    marks.code_block = written("```json");
    for (const std::string_view mark : {kCallBegin, kCallSeparator, kCallEnd})
      marks.inner.push_back(special_id(tokenizer, mark));
    if (std::find(marks.inner.begin(), marks.inner.end(), -1) != marks.inner.end())
      marks.inner.clear();
  }
  return marks;
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
