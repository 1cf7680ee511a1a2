// AnswerStream: the tokens of one generated turn → its thinking, its text and its tool calls, as
// they can be shown. Told apart by token ids, so text that only looks like a mark stays text; only
// marks that the tokenizer has no tokens for are looked for in the text.
#pragma once

#include <cstdint>
#include <memory>
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
  int64_t min_tokens = 0;              ///< stop strings that end within the first ones are text
  bool skip_special = true;
  bool split = true;                         ///< false: no marks, all is content
  bool tools = false;                        ///< the marks of tool calls count
  bool parallel_tools = true;                ///< false: only the first call comes out
  std::vector<std::string> tool_names = {};  ///< for Llama's calls, which look like other answers
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

  bool stopped() const { return part_ == Part::kContent && stop_->stopped(); }
  /// The stop string that ended it.
  const std::string& matched() const { return stop_->matched(); }
  bool thinking() const { return part_ == Part::kReasoning; }
  int64_t reasoning_tokens() const { return reasoning_tokens_; }
  size_t calls() const { return calls_; }

 private:
  enum class Part { kReasoning, kContent, kTool };

  void begin(Part part, const std::vector<int32_t>& behind);
  void start_part(Part part);
  void end_part(AnswerDelta& delta, bool last);
  void close_part(AnswerDelta& delta, bool last);
  bool mark(int32_t id, AnswerDelta& delta);
  void feed(std::string text, AnswerDelta& delta);
  std::optional<Part> find_mark(std::string& before);
  void take(std::string text, AnswerDelta& delta);
  void take_content(std::string text, AnswerDelta& delta);
  void take_call(std::string text, AnswerDelta& delta);
  void add_calls(std::vector<ToolCallDelta> calls, AnswerDelta& delta) const;
  void show(std::string_view text, std::string& target);
  bool may_stop() const { return tokens_ > options_.min_tokens; }

  const Tokenizer& tokenizer_;
  ChatMarks marks_;
  AnswerOptions options_;
  Part part_ = Part::kContent;
  std::optional<TextStream> text_;
  std::optional<StopFilter> stop_;  // of the content
  std::unique_ptr<CallParser> tool_;
  std::string tool_text_;  // as it came, for what turns out not to be a call
  std::string held_;       // may begin a mark
  std::string lead_;       // white space in front of what may be one of Llama's calls
  std::string line_ends_;  // which may belong to a mark
  bool fresh_ = false;     // nothing of this part is shown
  bool said_ = false;      // some content is: what follows is no call without a mark
  bool unmarked_ = false;  // the call began without a mark
  int64_t tokens_ = 0, reasoning_tokens_ = 0;
  size_t calls_ = 0;
};

}  // namespace um
