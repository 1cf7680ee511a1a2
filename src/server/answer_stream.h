// AnswerStream: the tokens of one generated turn → its thinking, its text and its tool calls, as
// they can be shown. Told apart by token ids, so text that only looks like a mark stays text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/text_stream.h"
#include "server/chat_marks.h"
#include "server/tool_calls.h"
#include "text/tokenizer.h"

namespace um {

/// What tokens add to the parts of an answer.
struct AnswerDelta {
  std::string reasoning, content;
  std::vector<ToolCallDelta> calls;
  bool empty() const { return reasoning.empty() && content.empty() && calls.empty(); }
  /// Appends a later one.
  void append(AnswerDelta&& later);
};

struct AnswerOptions {
  std::vector<std::string> stop = {};  ///< looked for in the content only, also across tokens
  bool skip_special = true;
  bool split = true;           ///< false: no marks, all is content
  bool tools = false;          ///< the marks of tool calls count
  bool parallel_tools = true;  ///< false: only the first call comes out
};

class AnswerStream {
 public:
  /// `prompt` is what the text goes on from. The tokenizer must outlive this.
  AnswerStream(const Tokenizer& tokenizer, const ChatMarks& marks,
               const std::vector<int32_t>& prompt, AnswerOptions options);

  /// What can be shown now that `id` has come; nothing more once `stopped()`.
  AnswerDelta push(int32_t id);
  /// The rest, when no more tokens come.
  AnswerDelta finish();

  bool stopped() const { return part_ == Part::kContent && text_->stopped(); }
  /// The stop string that ended it.
  const std::string& matched() const { return text_->matched(); }
  bool thinking() const { return part_ == Part::kReasoning; }
  int64_t reasoning_tokens() const { return reasoning_tokens_; }
  size_t calls() const { return calls_; }

 private:
  enum class Part { kReasoning, kContent, kTool };

  void begin(Part part, const std::vector<int32_t>& behind);
  void end_part(AnswerDelta& delta);
  void take(std::string text, AnswerDelta& delta);
  bool mark(int32_t id, AnswerDelta& delta);

  const Tokenizer& tokenizer_;
  ChatMarks marks_;
  AnswerOptions options_;
  Part part_ = Part::kContent;
  std::optional<TextStream> text_;
  std::optional<ToolCallParser> tool_;
  std::string tool_text_;  // as it came, for what turns out not to be a call
  int64_t reasoning_tokens_ = 0;
  size_t calls_ = 0;
};

}  // namespace um
