// See answer_stream.h.
#include "server/answer_stream.h"

#include <utility>

namespace um {

void AnswerDelta::append(AnswerDelta&& later) {
  reasoning += later.reasoning;
  content += later.content;
  for (ToolCallDelta& call : later.calls) {
    if (call.name.empty() && !calls.empty() && calls.back().index == call.index)
      calls.back().arguments += call.arguments;
    else
      calls.push_back(std::move(call));
  }
}

AnswerStream::AnswerStream(const Tokenizer& tokenizer, const ChatMarks& marks,
                           const std::vector<int32_t>& prompt, AnswerOptions options)
    : tokenizer_(tokenizer), marks_(marks), options_(std::move(options)) {
  // A prompt may end inside the thinking: an answer that is continued.
  const bool thinking = options_.split && marks_.opens_thinking(tokenizer, prompt);
  begin(thinking ? Part::kReasoning : Part::kContent, prompt);
}

void AnswerStream::begin(Part part, const std::vector<int32_t>& behind) {
  part_ = part;
  const bool content = part == Part::kContent;
  text_.emplace(tokenizer_, behind, content ? options_.stop : std::vector<std::string>(),
                options_.skip_special || !content);
  if (part == Part::kTool) tool_.emplace();
}

AnswerDelta AnswerStream::push(int32_t id) {
  AnswerDelta delta;
  if (stopped()) return delta;
  if (options_.split && id >= 0 && mark(id, delta)) return delta;
  if (part_ == Part::kReasoning) ++reasoning_tokens_;
  take(text_->push(id), delta);
  return delta;
}

AnswerDelta AnswerStream::finish() {
  AnswerDelta delta;
  if (!stopped()) end_part(delta);
  return delta;
}

/// Whether `id` is a mark that counts here; then the next part has begun.
bool AnswerStream::mark(int32_t id, AnswerDelta& delta) {
  Part next = Part::kContent;
  if (id == marks_.think_open)
    next = Part::kReasoning;
  else if (options_.tools && id == marks_.tool_open)
    next = Part::kTool;
  else if (id != marks_.think_close && !(options_.tools && id == marks_.tool_close))
    return false;
  if (part_ == Part::kReasoning || id == marks_.think_open) ++reasoning_tokens_;
  end_part(delta);
  if (!stopped()) begin(next, {id});
  return true;
}

void AnswerStream::end_part(AnswerDelta& delta) {
  take(text_->finish(), delta);
  if (!tool_) return;
  std::vector<ToolCallDelta> calls;
  const size_t before = tool_->calls();
  tool_->finish(calls);
  for (ToolCallDelta& call : calls) {
    call.index += calls_;
    if (options_.parallel_tools || call.index == 0) delta.calls.push_back(std::move(call));
  }
  if (tool_->calls() == 0 && before == 0) delta.content += tool_text_;
  calls_ += tool_->calls();
  tool_.reset();
  tool_text_.clear();
}

void AnswerStream::take(std::string text, AnswerDelta& delta) {
  if (part_ == Part::kReasoning) {
    delta.reasoning += text;
  } else if (part_ == Part::kContent) {
    delta.content += text;
  } else if (tool_) {
    std::vector<ToolCallDelta> calls;
    tool_->push(text, calls);
    if (tool_->calls() == 0) tool_text_ += text;
    for (ToolCallDelta& call : calls) {
      call.index += calls_;
      if (options_.parallel_tools || call.index == 0) delta.calls.push_back(std::move(call));
    }
  }
}

}  // namespace um
