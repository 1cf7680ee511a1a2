// See answer_stream.h.
#include "server/answer_stream.h"

#include <algorithm>
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
  fresh_ = thinking;
}

/// `behind`: the tokens that the part's text follows.
void AnswerStream::begin(Part part, const std::vector<int32_t>& behind) {
  // DeepSeek's calls have marks of their own inside.
  const bool inner_marks = part == Part::kTool && marks_.calls == CallSyntax::kDeepSeek;
  const bool skip = part == Part::kContent ? options_.skip_special : !inner_marks;
  text_.emplace(tokenizer_, behind, std::vector<std::string>(), skip);
  start_part(part);
}

void AnswerStream::start_part(Part part) {
  part_ = part;
  fresh_ = true;
  unmarked_ = false;
  line_ends_.clear();
  if (part == Part::kContent) stop_.emplace(options_.stop);
  if (part == Part::kTool) tool_ = make_call_parser(marks_.calls, options_.tool_names);
}

AnswerDelta AnswerStream::push(int32_t id) {
  AnswerDelta delta;
  if (stopped()) return delta;
  ++tokens_;
  if (options_.split && id >= 0 && mark(id, delta)) return delta;
  if (part_ == Part::kReasoning) ++reasoning_tokens_;
  feed(text_->push(id), delta);
  return delta;
}

AnswerDelta AnswerStream::finish() {
  AnswerDelta delta;
  if (!stopped()) end_part(delta, true);
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
  end_part(delta, false);
  if (!stopped()) begin(next, {id});
  return true;
}

/// Text that goes through the marks which are written in it.
void AnswerStream::feed(std::string text, AnswerDelta& delta) {
  if (stopped()) return;
  held_ += text;
  for (;;) {
    std::string before;
    const std::optional<Part> next = options_.split ? find_mark(before) : std::nullopt;
    if (!options_.split) before = std::exchange(held_, {});
    take(std::move(before), delta);
    if (!next || stopped()) return;
    close_part(delta, false);
    if (stopped()) return;
    start_part(*next);
  }
}

/// Moves the text before the first mark that counts in this part out of `held_`, and the mark;
/// where there is none, all that cannot begin one.
std::optional<AnswerStream::Part> AnswerStream::find_mark(std::string& before) {
  std::vector<std::pair<std::string_view, Part>> wanted;
  const auto want = [&](std::string_view text, Part next) {
    if (!text.empty()) wanted.emplace_back(text, next);
  };
  if (part_ == Part::kReasoning) want(marks_.think_close_text, Part::kContent);
  if (part_ == Part::kTool) want(marks_.tool_close_text, Part::kContent);
  if (part_ == Part::kContent && !said_) want(marks_.think_open_text, Part::kReasoning);
  if (part_ == Part::kContent && options_.tools) want(marks_.tool_open_text, Part::kTool);
  size_t found = std::string::npos, length = 0, keep = 0;
  std::optional<Part> next;
  for (const auto& [text, part] : wanted) {
    if (const size_t at = held_.find(text); at < found)
      found = at, length = text.size(), next = part;
    for (size_t n = std::min(held_.size(), text.size() - 1); n > keep; --n)
      if (held_.ends_with(text.substr(0, n))) keep = n;
  }
  const size_t shown = next ? found : held_.size() - keep;
  before = held_.substr(0, shown);
  held_.erase(0, shown + length);
  return next;
}

/// `last`: no mark ends the part, but the answer.
void AnswerStream::end_part(AnswerDelta& delta, bool last) {
  feed(text_->finish(), delta);
  take(std::exchange(held_, {}), delta);
  if (!stopped()) close_part(delta, last);
}

void AnswerStream::close_part(AnswerDelta& delta, bool last) {
  if (part_ == Part::kContent) {
    if (!lead_.empty()) show(stop_->push(std::exchange(lead_, {}), may_stop()), delta.content);
    if (!stopped()) show(stop_->finish(), delta.content);
    if (last || stopped()) delta.content += line_ends_;
    line_ends_.clear();
  }
  if (!tool_) return;
  std::vector<ToolCallDelta> calls;
  const size_t before = tool_->calls();
  tool_->finish(calls);
  add_calls(std::move(calls), delta);
  if (tool_->calls() == 0 && before == 0) delta.content += tool_text_;
  said_ = true;
  calls_ += tool_->calls();
  tool_.reset();
  tool_text_.clear();
}

void AnswerStream::take(std::string text, AnswerDelta& delta) {
  if (text.empty() || stopped()) return;
  if (part_ == Part::kReasoning) {
    show(text, delta.reasoning);
  } else if (part_ == Part::kContent) {
    take_content(std::move(text), delta);
  } else if (tool_) {
    take_call(std::move(text), delta);
  }
}

void AnswerStream::take_content(std::string text, AnswerDelta& delta) {
  const bool may_call = options_.split && options_.tools && !said_ &&
                        marks_.calls == CallSyntax::kLlama && !options_.tool_names.empty();
  if (may_call) {
    lead_ += text;
    const size_t first = lead_.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) return;
    text = std::exchange(lead_, {});
    if (text[first] == '{') {
      start_part(Part::kTool);
      unmarked_ = true;
      return take_call(std::move(text), delta);
    }
  }
  said_ = true;
  show(stop_->push(text, may_stop()), delta.content);
  if (stopped()) delta.content += std::exchange(line_ends_, {});
}

void AnswerStream::take_call(std::string text, AnswerDelta& delta) {
  std::vector<ToolCallDelta> calls;
  tool_->push(text, calls);
  if (tool_->calls() == 0) tool_text_ += text;
  add_calls(std::move(calls), delta);
  if (!unmarked_ || tool_->well_formed() || tool_->calls() > 0) return;
  tool_.reset();  // an answer in JSON, not a call
  said_ = true;
  start_part(Part::kContent);
  take_content(std::exchange(tool_text_, {}), delta);
}

void AnswerStream::add_calls(std::vector<ToolCallDelta> calls, AnswerDelta& delta) const {
  for (ToolCallDelta& call : calls) {
    call.index += calls_;
    if (options_.parallel_tools || call.index == 0) delta.calls.push_back(std::move(call));
  }
}

/// Appends to what is shown of this part, without the line ends beside marks.
void AnswerStream::show(std::string_view text, std::string& target) {
  if (!marks_.trim || !options_.split) {
    target += text;
    return;
  }
  if (fresh_) text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  if (text.empty()) return;
  fresh_ = false;
  const size_t end = text.find_last_not_of('\n') + 1;
  if (end > 0) target += std::exchange(line_ends_, {});
  target += text.substr(0, end);
  line_ends_ += text.substr(end);
}

}  // namespace um
