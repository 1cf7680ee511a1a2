// AnswerStream: the tokens of one generated turn → its thinking, its text and its tool calls, as
// they can be shown. Told apart by token ids, so text that only looks like a mark stays text; only
// marks that the tokenizer has no tokens for are looked for in the text. What turns out to be no
// call comes out as it was written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/text_stream.h"
#include "server/call_reader.h"
#include "server/chat_marks.h"
#include "server/code_fence.h"
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
  bool split = true;             ///< false: no marks, all is content
  bool tools = false;            ///< calls of tools count
  bool parallel_tools = true;    ///< false: only the first call comes out
  std::vector<Tool> known = {};  ///< the tools, for the types of arguments
};

class AnswerStream {
 public:
  /// `prompt` is what the text goes on from. The tokenizer must outlive this.
  AnswerStream(const Tokenizer& tokenizer, const ChatMarks& marks,
               const std::vector<int32_t>& prompt, AnswerOptions options);
  AnswerStream(const AnswerStream&) = delete;

  /// What can be shown now that `id` has come; nothing more once `stopped()`.
  AnswerDelta push(int32_t id);
  /// The rest, when no more tokens come.
  AnswerDelta finish();

  bool stopped() const { return part_ == Part::kContent && stop_.stopped(); }
  /// The stop string that ended it.
  const std::string& matched() const { return stop_.matched(); }
  bool thinking() const { return part_ == Part::kReasoning; }
  int64_t reasoning_tokens() const { return reasoning_tokens_; }
  /// Whether it has calls, and all of them are complete.
  bool called() const { return calls_ > 0 && !cut_call_; }

 private:
  enum class Part { kReasoning, kContent, kCalls };
  /// A mark that may come in a part, and the part behind it.
  struct Mark {
    std::string text;
    Part next;
  };

  std::string symbol(int32_t id) const;
  void feed(std::string_view text, AnswerDelta& delta);
  bool split(AnswerDelta& delta);
  std::vector<Mark> marks_here() const;
  /// Models may open thinking again that the prompt has opened.
  bool may_open_thinking() const { return part_ == Part::kReasoning ? fresh_ : !said_; }
  std::optional<bool> bare_call();
  void pass(const Mark& mark);
  void read_calls(AnswerDelta& delta);
  void take_calls(std::vector<ToolCallDelta> calls, AnswerDelta& delta);
  void end_calls(CallReader::State state);
  void begin_calls(std::string opener);
  void take(std::string_view text, AnswerDelta& delta);
  void close_content(AnswerDelta& delta);
  void show(std::string_view text, std::string& target);
  std::string plain(std::string_view text, bool calls) const;

  const Tokenizer& tokenizer_;
  const ChatMarks marks_;
  const CallForm form_;  // of calls
  const AnswerOptions options_;
  Part part_ = Part::kContent;
  std::optional<TextStream> text_;
  StopFilter stop_;  // of the content
  CodeFence fence_;  // of the content
  std::unique_ptr<CallReader> reader_;
  std::string opener_;     // the mark in front of what `reader_` reads
  std::string held_;       // not yet told apart
  size_t literal_ = 0;     // so much of it is text, whatever it looks like
  std::string line_ends_;  // which may belong to a mark
  bool fresh_ = false;     // nothing of this part is shown
  bool said_ = false;      // the content has begun: neither thinking nor a bare call can
  bool last_ = false;      // no more text comes
  bool cut_call_ = false;  // a call was not completed
  int64_t tokens_ = 0, reasoning_tokens_ = 0;
  size_t calls_ = 0;  // of the readers before the present one
};

}  // namespace um
