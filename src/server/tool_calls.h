// ToolCallParser: the calls in a generated JSON list, as the text arrives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// What became known about a call: its name, once, then pieces of its arguments' JSON text.
struct ToolCallDelta {
  size_t index = 0;
  std::string name;       ///< not empty exactly where a call begins
  std::string arguments;  ///< a piece
};

/// Reads `[{"name": …, "arguments"|"parameters": {…}}, …]` or one such object. The arguments are
/// handed on as they come, as the text that the model wrote; a string is read as JSON text in
/// quotes. What follows a fault is ignored.
class ToolCallParser {
 public:
  /// Appends what `text` adds. It may be cut anywhere.
  void push(std::string_view text, std::vector<ToolCallDelta>& out);
  /// No more text comes: ends a call that is not closed yet.
  void finish(std::vector<ToolCallDelta>& out);

  /// Calls that have begun to come out.
  size_t calls() const { return calls_; }
  /// False once the text was not what it should be.
  bool well_formed() const { return state_ != State::kBroken; }

 private:
  enum class State {
    kList,
    kMembers,
    kKey,
    kColon,
    kValueStart,
    kString,
    kNested,
    kScalar,
    kBroken
  };

  void step(char c, std::vector<ToolCallDelta>& out);
  void begin_value(char c, std::vector<ToolCallDelta>& out);
  void nested(char c, std::vector<ToolCallDelta>& out);
  void end_value(std::vector<ToolCallDelta>& out);
  void end_call(std::vector<ToolCallDelta>& out);
  void give_name(std::vector<ToolCallDelta>& out);
  void give_arguments(std::string_view text, std::vector<ToolCallDelta>& out);
  bool is_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  State state_ = State::kList;
  size_t calls_ = 0;
  bool open_ = false;   // the present call's name has come out
  bool given_ = false;  // and some of its arguments
  bool done_ = false;   // its arguments are complete: later members of that name are ignored
  bool escape_ = false, quoted_ = false;
  int depth_ = 0;  // of a nested value
  std::string key_, name_, value_;
  std::string waiting_;  // arguments that came before the name
};

}  // namespace um
