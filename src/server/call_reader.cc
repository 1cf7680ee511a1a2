// See call_reader.h.
#include "server/call_reader.h"

#include <algorithm>

namespace um {
namespace {

/// So much text may come before it is known to be a call.
constexpr size_t kMaxUndecided = 1 << 16;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

std::unique_ptr<CallReader> CallReader::make(const CallForm& form, const std::vector<Tool>& tools) {
  const bool objects = form.kind == CallForm::Kind::kObject || form.kind == CallForm::Kind::kKeyed;
  if (objects) return make_object_reader(form, tools);
  const bool literal = form.kind == CallForm::Kind::kLiteral;
  return literal ? make_literal_reader(form, tools) : make_named_reader(form, tools);
}

CallReader::State CallReader::push(std::string_view text, std::vector<ToolCallDelta>& out) {
  text_ += text;
  for (;;) {
    switch (step(out)) {
      case Step::kAgain:
        continue;
      case Step::kClosed:
        used_ = std::max(used_, at_);
        return State::kClosed;
      case Step::kFault:
        return State::kFault;
      case Step::kMore:
        break;
    }
    break;
  }
  if (!in_call_ && text_.size() - used_ > kMaxUndecided) return State::kFault;
  return State::kReading;
}

bool CallReader::skip_space() {
  while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  return at_ < text_.size();
}

CallReader::Match CallReader::match(std::string_view mark, size_t& at) const {
  mark = trimmed(mark);
  size_t end = at;
  for (size_t i = 0; i < mark.size();) {
    if (is_space(mark[i])) {
      while (is_space(mark[i])) ++i;
      while (end < text_.size() && is_space(text_[end])) ++end;
      continue;
    }
    if (end == text_.size()) return Match::kPartly;
    if (text_[end++] != mark[i++]) return Match::kNo;
  }
  at = end;
  return Match::kYes;
}

CallReader::Match CallReader::take(std::string_view mark) {
  return match(mark, at_);
}

CallReader::Step CallReader::take_close() {
  switch (take(form_.close)) {
    case Match::kYes:
      return calls() > 0 ? Step::kClosed : Step::kFault;
    case Match::kPartly:
      return Step::kMore;
    case Match::kNo:
      break;
  }
  return Step::kFault;
}

bool CallReader::is_tool(std::string_view name) const {
  return std::any_of(tools_.begin(), tools_.end(),
                     [&](const Tool& tool) { return tool.name == name; });
}

void CallReader::begin_call(const std::string& name, std::vector<ToolCallDelta>& out) {
  out.push_back({.index = calls_++, .name = name});
  in_call_ = true;
  used_ = at_;
}

void CallReader::add(std::string_view arguments, std::vector<ToolCallDelta>& out) {
  add_to_call(out, calls_ - 1, arguments);
  used_ = at_;
}

void CallReader::end_call(std::string_view arguments, std::vector<ToolCallDelta>& out) {
  add_to_call(out, calls_ - 1, arguments, true);
  in_call_ = false;
  used_ = at_;
}

CallReader::Match CallReader::object_begins() const {
  if (text_[at_] != '{') return Match::kNo;
  size_t first = at_ + 1;
  while (first < text_.size() && is_space(text_[first])) ++first;
  if (first == text_.size()) return Match::kPartly;
  return text_[first] == '"' || text_[first] == '}' ? Match::kYes : Match::kNo;
}

bool CallReader::take_object(std::vector<ToolCallDelta>& out) {
  const size_t begin = at_;
  bool closed = false;
  while (at_ < text_.size() && !closed) closed = nesting_.closes(text_[at_++]);
  add(form_.plain(std::string_view(text_).substr(begin, at_ - begin - (closed ? 1 : 0))), out);
  if (closed) nesting_ = {};
  return closed;
}

}  // namespace um
