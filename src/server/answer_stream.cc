// See answer_stream.h.
#include "server/answer_stream.h"

#include <algorithm>
#include <utility>

namespace um {
namespace {

// The marks of thinking in the text, where they are tokens. Those of calls: call_form.h.
constexpr std::string_view kOpenSymbol = "\xff\xfe", kCloseSymbol = "\xff\xfd";

}  // namespace

void AnswerDelta::append(AnswerDelta&& later) {
  reasoning += later.reasoning;
  content += later.content;
  for (ToolCallDelta& call : later.calls) {
    if (call.name.empty() && !calls.empty() && calls.back().index == call.index)
      add_to_call(calls, call.index, call.arguments, call.complete);
    else
      calls.push_back(std::move(call));
  }
}

AnswerStream::AnswerStream(const Tokenizer& tokenizer, const ChatMarks& marks,
                           const std::vector<int32_t>& prompt, AnswerOptions options)
    : tokenizer_(tokenizer),
      marks_(marks),
      form_(marks.told_calls ? spelled_out(marks.calls) : marks.calls),
      options_(std::move(options)),
      stop_(options_.stop) {
  text_.emplace(tokenizer_, prompt, std::vector<std::string>(), options_.skip_special);
  // A prompt may end inside the thinking: an answer that is continued.
  if (!options_.split || !marks_.opens_thinking(tokenizer, prompt)) return;
  part_ = Part::kReasoning;
  fresh_ = true;
}

AnswerDelta AnswerStream::push(int32_t id) {
  AnswerDelta delta;
  if (stopped()) return delta;
  ++tokens_;
  const bool thought = part_ == Part::kReasoning;
  const std::string mark = options_.split ? symbol(id) : std::string();
  if (mark.empty()) {
    feed(text_->push(id), delta);
  } else {
    const std::string before = text_->finish();
    text_.emplace(tokenizer_, std::vector<int32_t>{id}, std::vector<std::string>(),
                  options_.skip_special);
    feed(before + mark, delta);
  }
  if (thought || part_ == Part::kReasoning) ++reasoning_tokens_;
  return delta;
}

AnswerDelta AnswerStream::finish() {
  AnswerDelta delta;
  if (stopped()) return delta;
  last_ = true;
  feed(text_->finish(), delta);
  while (part_ == Part::kCalls) {
    end_calls(CallReader::State::kReading);
    feed({}, delta);
  }
  if (part_ != Part::kContent || stopped()) return delta;
  show(stop_.finish(), delta.content);
  delta.content += std::exchange(line_ends_, {});
  return delta;
}

/// How a mark that is a token stands in the text; empty for other tokens.
std::string AnswerStream::symbol(int32_t id) const {
  if (id < 0) return {};
  if (id == marks_.think_open) return std::string(kOpenSymbol);
  if (id == marks_.think_close) return std::string(kCloseSymbol);
  for (size_t i = 0; i < form_.marks.size(); ++i)
    if (form_.marks[i].id == id) return marks_.told_calls ? form_.marks[i].text : mark_text(i);
  return {};
}

/// Marks that stand for nothing are shown as their text. `calls`: those of calls, too.
std::string AnswerStream::plain(std::string_view text, bool calls) const {
  if (text.find(kMarkByte) == std::string_view::npos) return std::string(text);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = std::min(text.find(kMarkByte, at), text.size());
    out += text.substr(at, mark - at);
    const std::string_view symbol = text.substr(mark, 2);
    if (symbol == kOpenSymbol)
      out += marks_.think_open_text;
    else if (symbol == kCloseSymbol)
      out += marks_.think_close_text;
    else
      out += calls ? form_.plain(symbol) : std::string(symbol);
    at = mark + symbol.size();
  }
  return out;
}

void AnswerStream::feed(std::string_view text, AnswerDelta& delta) {
  if (stopped()) return;
  held_ += text;
  if (!options_.split) {
    take(std::exchange(held_, {}), delta);
    return;
  }
  for (bool again = true; again && !stopped();) {
    if (part_ == Part::kCalls) {
      read_calls(delta);
      again = part_ != Part::kCalls;
    } else {
      again = split(delta);
    }
  }
}

/// The marks that count in this part.
std::vector<AnswerStream::Mark> AnswerStream::marks_here() const {
  std::vector<Mark> marks;
  const auto add = [&](std::string_view text, Part next) {
    if (!text.empty()) marks.push_back({std::string(text), next});
  };
  const bool token = marks_.think_close >= 0;
  const std::string_view open = token ? kOpenSymbol : marks_.think_open_text;
  if (may_open_thinking()) add(open, Part::kReasoning);
  if (part_ == Part::kReasoning) {
    add(token ? kCloseSymbol : marks_.think_close_text, Part::kContent);
    return marks;
  }
  // An answer that does not think may begin with the end of the thinking alone.
  if (!said_ && reasoning_tokens_ == 0)
    add(token ? kCloseSymbol : marks_.think_close_text, Part::kContent);
  if (!options_.tools || !form_.readable()) return marks;
  add(form_.opener(), Part::kCalls);
  add(form_.other_open, Part::kCalls);
  return marks;
}

/// Goes on to the first mark. False where there is none: then all that cannot begin one is taken.
bool AnswerStream::split(AnswerDelta& delta) {
  if (const std::optional<bool> bare = bare_call()) return *bare;
  const std::vector<Mark> marks = marks_here();
  const Mark* found = nullptr;
  size_t at = held_.size(), keep = 0;
  for (const Mark& mark : marks) {
    if (const size_t place = held_.find(mark.text, literal_); place < at) at = place, found = &mark;
    for (size_t n = std::min(held_.size() - literal_, mark.text.size() - 1); n > keep; --n)
      if (held_.ends_with(std::string_view(mark.text).substr(0, n))) keep = n;
  }
  if (found == nullptr) at = held_.size() - (last_ ? 0 : keep);
  const std::string before = held_.substr(0, at);
  held_.erase(0, at);
  literal_ = 0;
  take(before, delta);
  if (found == nullptr || stopped()) return false;
  const bool begins = part_ == Part::kReasoning || !said_;  // or does it stand behind `before`?
  if (found->next == Part::kContent && !begins) return true;
  if (found->next == Part::kReasoning && !may_open_thinking()) return true;
  pass(*found);
  return true;
}

/// An answer that begins with a bracket may be a call without a mark. Nothing where it cannot be
/// one; false where more text must show it.
std::optional<bool> AnswerStream::bare_call() {
  const bool may = part_ == Part::kContent && !said_ && options_.tools && form_.readable() &&
                   form_.bare() && literal_ == 0;
  const size_t first = held_.find_first_not_of(" \t\r\n");
  if (!may || (first == std::string::npos && last_)) return std::nullopt;
  if (first == std::string::npos) return false;
  if (held_[first] != '{') return std::nullopt;
  begin_calls({});
  return true;
}

void AnswerStream::pass(const Mark& mark) {
  if (mark.next == Part::kCalls && fence_.inside()) {  // it is text, and so is what stands in it
    literal_ = mark.text.size();
    return;
  }
  held_.erase(0, mark.text.size());
  if (mark.next == Part::kCalls) return begin_calls(mark.text);
  part_ = mark.next;
  fresh_ = true;
  line_ends_.clear();
}

// ---- calls ----

void AnswerStream::begin_calls(std::string opener) {
  part_ = Part::kCalls;
  opener_ = std::move(opener);
  reader_ = CallReader::make(form_, options_.known);
}

void AnswerStream::read_calls(AnswerDelta& delta) {
  std::vector<ToolCallDelta> calls;
  const CallReader::State state = reader_->push(plain(std::exchange(held_, {}), false), calls);
  take_calls(std::move(calls), delta);
  if (state != CallReader::State::kReading) end_calls(state);
}

void AnswerStream::take_calls(std::vector<ToolCallDelta> calls, AnswerDelta& delta) {
  for (ToolCallDelta& call : calls) {
    call.index += calls_;
    if (!call.name.empty()) {
      close_content(delta);
      line_ends_.clear();
      said_ = true;
    }
    if (options_.parallel_tools || call.index == 0) delta.calls.push_back(std::move(call));
  }
}

/// The calls are over, or were none: what the reader did not use is text. `state`: kReading where
/// the answer ends; then a call that has begun has no text behind it.
void AnswerStream::end_calls(CallReader::State state) {
  const bool called = reader_->calls() > 0, ends = state == CallReader::State::kReading;
  cut_call_ = cut_call_ || reader_->unfinished();
  const bool used = called && ends && (reader_->unfinished() || reader_->outside());
  const std::string rest(used ? std::string_view() : reader_->rest());
  calls_ += reader_->calls();
  if (called) fresh_ = state == CallReader::State::kClosed;
  part_ = Part::kContent;
  reader_.reset();
  held_ = (called ? std::string() : opener_) + rest + held_;
  // No call: the mark is text. Others may follow in what was read.
  literal_ = called ? 0 : std::max<size_t>(opener_.size(), 1);
}

// ---- text ----

void AnswerStream::take(std::string_view text, AnswerDelta& delta) {
  if (text.empty()) return;
  const std::string shown = plain(text, true);
  if (part_ == Part::kReasoning) return show(shown, delta.reasoning);
  said_ = said_ || shown.find_first_not_of(" \t\r\n") != std::string::npos;
  fence_.push(shown);
  show(stop_.push(shown, tokens_ > options_.min_tokens), delta.content);
  if (stop_.stopped()) delta.content += std::exchange(line_ends_, {});
}

/// Something else than content follows.
void AnswerStream::close_content(AnswerDelta& delta) {
  show(stop_.finish(), delta.content);
  stop_ = StopFilter(options_.stop);
}

/// Appends to what is shown of this part, without the line ends beside marks.
void AnswerStream::show(std::string_view text, std::string& target) {
  if (!marks_.trim || !options_.split) {
    fresh_ = fresh_ && text.empty();
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
