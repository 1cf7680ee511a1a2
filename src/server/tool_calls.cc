// See tool_calls.h.
#include "server/tool_calls.h"

#include <algorithm>

#include "core/json.h"

namespace um {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// The string that a JSON text in quotes stands for; empty if it stands for none.
std::string unquoted(const std::string& json) {
  const Json value = Json::parse(json, nullptr, false);
  return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace

void CallParser::begin_call(const std::string& name, std::vector<ToolCallDelta>& out) {
  out.push_back({calls_++, name, {}});
}

void CallParser::add_arguments(std::string_view text, std::vector<ToolCallDelta>& out) const {
  // Characters that come one after the other make one piece.
  if (!out.empty() && out.back().index + 1 == calls_)
    out.back().arguments += text;
  else
    out.push_back({calls_ - 1, {}, std::string(text)});
}

std::unique_ptr<CallParser> make_call_parser(CallSyntax syntax, std::vector<std::string> names) {
  if (syntax == CallSyntax::kDeepSeek) return std::make_unique<DeepSeekCallParser>();
  if (syntax != CallSyntax::kLlama) names.clear();
  return std::make_unique<ToolCallParser>(std::move(names));
}

bool JsonNesting::closes(char c) {
  if (quoted_) {
    if (escape_)
      escape_ = false;
    else if (c == '\\')
      escape_ = true;
    else if (c == '"')
      quoted_ = false;
  } else if (c == '"') {
    quoted_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    return --depth_ == 0;
  }
  return false;
}

void ToolCallParser::push(std::string_view text, std::vector<ToolCallDelta>& out) {
  for (const char c : text) {
    if (state_ == State::kBroken) return;
    step(c, out);
  }
}

void ToolCallParser::finish(std::vector<ToolCallDelta>& out) {
  if (state_ == State::kScalar) end_value(out);
  if (state_ != State::kList && state_ != State::kBroken) end_call(out);
}

void ToolCallParser::step(char c, std::vector<ToolCallDelta>& out) {
  switch (state_) {
    case State::kList:
      if (c == '{')
        state_ = State::kMembers;
      else if (!is_space(c) && c != '[' && c != ']' && c != ',' && c != ';')
        state_ = State::kBroken;
      return;
    case State::kMembers:
      if (c == '"') {
        state_ = State::kKey;
        value_ = c;
      } else if (c == '}') {
        end_call(out);
      } else if (!is_space(c) && c != ',') {
        state_ = State::kBroken;
      }
      return;
    case State::kKey:
    case State::kString:
      value_ += c;
      if (escape_)
        escape_ = false;
      else if (c == '\\')
        escape_ = true;
      else if (c == '"' && state_ == State::kKey)
        key_ = unquoted(value_), state_ = State::kColon;
      else if (c == '"')
        end_value(out);
      return;
    case State::kColon:
      if (c == ':')
        state_ = State::kValueStart;
      else if (!is_space(c))
        state_ = State::kBroken;
      return;
    case State::kValueStart:
      if (!is_space(c)) begin_value(c, out);
      return;
    case State::kNested:
      return nested(c, out);
    case State::kScalar:
      if (c == ',' || c == '}' || is_space(c)) {
        end_value(out);
        if (c == '}') step(c, out);
      } else {
        value_ += c;
      }
      return;
    case State::kBroken:
      return;
  }
}

void ToolCallParser::begin_value(char c, std::vector<ToolCallDelta>& out) {
  value_ = c;
  if (c == '"') {
    state_ = State::kString;
  } else if (c == '{' || c == '[') {
    state_ = State::kNested;
    nesting_ = {};
    nesting_.closes(c);
    if (is_arguments() && !done_) give_arguments(value_, out);
  } else if (c == '}' || c == ']' || c == ',' || c == ':') {
    state_ = State::kBroken;
  } else {
    state_ = State::kScalar;
  }
}

void ToolCallParser::nested(char c, std::vector<ToolCallDelta>& out) {
  if (is_arguments() && !done_) give_arguments(std::string_view(&c, 1), out);
  if (nesting_.closes(c)) end_value(out);
}

void ToolCallParser::end_value(std::vector<ToolCallDelta>& out) {
  if (state_ == State::kString && key_ == "name") {
    name_ = unquoted(value_);
    give_name(out);
  } else if (state_ == State::kString && is_arguments() && !done_) {
    give_arguments(unquoted(value_), out);
  }
  done_ = done_ || (is_arguments() && state_ != State::kScalar);
  const bool known = names_.empty() || name_.empty() ||
                     std::find(names_.begin(), names_.end(), name_) != names_.end();
  state_ = known ? State::kMembers : State::kBroken;
}

void ToolCallParser::give_name(std::vector<ToolCallDelta>& out) {
  const bool known =
      names_.empty() || std::find(names_.begin(), names_.end(), name_) != names_.end();
  if (open_ || name_.empty() || !known) return;
  open_ = true;
  begin_call(name_, out);
  if (!waiting_.empty()) give_arguments(std::exchange(waiting_, {}), out);
}

void ToolCallParser::give_arguments(std::string_view text, std::vector<ToolCallDelta>& out) {
  if (!open_) {
    waiting_ += text;
    return;
  }
  given_ = given_ || !text.empty();
  add_arguments(text, out);
}

void ToolCallParser::end_call(std::vector<ToolCallDelta>& out) {
  if (open_ && !given_) give_arguments("{}", out);
  open_ = given_ = done_ = false;
  name_.clear();
  waiting_.clear();
  state_ = State::kList;
}

namespace {

constexpr size_t kMaxHead = 4096;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

void DeepSeekCallParser::push(std::string_view text, std::vector<ToolCallDelta>& out) {
  for (const char c : text) step(c, out);
}

/// Whether `mark` is complete; then it is taken off the text.
bool DeepSeekCallParser::reached(std::string_view mark) {
  if (!text_.ends_with(mark)) return false;
  text_.resize(text_.size() - mark.size());
  return true;
}

void DeepSeekCallParser::step(char c, std::vector<ToolCallDelta>& out) {
  if (state_ == State::kBroken) return;
  if (state_ == State::kArguments) return argument(c, out);
  text_ += c;
  if (state_ == State::kOutside) {
    if (reached(kCallBegin)) text_.clear(), state_ = State::kHead;
    if (text_.size() > 2 * kCallBegin.size()) text_.erase(0, text_.size() - kCallBegin.size());
  } else if (state_ == State::kHead) {
    if (reached(kCallSeparator)) head_ = std::exchange(text_, {}), state_ = State::kName;
  } else if (state_ == State::kName) {
    if (trimmed(text_) == "{") {  // V3.1: the name stood before
      named(head_, out);
      argument('{', out);
    } else if (reached(kCallEnd)) {
      named(text_, out);
      finish(out);
    } else if (c == '\n' && !trimmed(text_).empty()) {
      named(text_, out);
    }
  } else if (c == '{') {
    argument(c, out);
  } else if (reached(kCallEnd)) {
    finish(out);
  }
  if (text_.size() > kMaxHead) state_ = State::kBroken;
}

void DeepSeekCallParser::named(std::string_view name, std::vector<ToolCallDelta>& out) {
  name = trimmed(name);
  state_ = name.empty() ? State::kBroken : State::kSeek;
  if (!name.empty()) begin_call(std::string(name), out);
  text_.clear();
}

void DeepSeekCallParser::argument(char c, std::vector<ToolCallDelta>& out) {
  if (state_ == State::kBroken) return;
  if (state_ != State::kArguments) nesting_ = {};
  state_ = State::kArguments;
  add_arguments(std::string_view(&c, 1), out);
  if (!nesting_.closes(c)) return;
  text_.clear();
  state_ = State::kOutside;
}

void DeepSeekCallParser::finish(std::vector<ToolCallDelta>& out) {
  if (state_ == State::kSeek) add_arguments("{}", out);
  if (state_ != State::kBroken) state_ = State::kOutside;
  text_.clear();
}

}  // namespace um
