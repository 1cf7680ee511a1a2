// The calls in generated text, as it arrives: a JSON list of them, or DeepSeek's own form.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/chat_marks.h"

namespace um {

/// What became known about a call: its name, once, then pieces of its arguments' JSON text.
struct ToolCallDelta {
  size_t index = 0;
  std::string name;       ///< not empty exactly where a call begins
  std::string arguments;  ///< a piece
};

class CallParser {
 public:
  virtual ~CallParser() = default;
  /// Appends what `text` adds. It may be cut anywhere.
  virtual void push(std::string_view text, std::vector<ToolCallDelta>& out) = 0;
  /// No more text comes: ends a call that is not closed yet.
  virtual void finish(std::vector<ToolCallDelta>& out) = 0;
  /// False once the text was not what it should be.
  virtual bool well_formed() const = 0;

  /// Calls that have begun to come out.
  size_t calls() const { return calls_; }

 protected:
  void begin_call(const std::string& name, std::vector<ToolCallDelta>& out);
  void add_arguments(std::string_view text, std::vector<ToolCallDelta>& out) const;

 private:
  size_t calls_ = 0;
};

/// `names`: what may be called, for syntaxes whose calls look like other answers.
std::unique_ptr<CallParser> make_call_parser(CallSyntax syntax, std::vector<std::string> names);

/// Follows a JSON object or array from its first character to the bracket that closes it.
class JsonNesting {
 public:
  /// True for that bracket.
  bool closes(char c);

 private:
  bool quoted_ = false, escape_ = false;
  int depth_ = 0;
};

/// Reads `[{"name": …, "arguments"|"parameters": {…}}, …]` or such objects alone, with commas,
/// semicolons or nothing between. The arguments are handed on as they come, as the text that the
/// model wrote; a string is read as JSON text in quotes. What follows a fault is ignored.
class ToolCallParser : public CallParser {
 public:
  /// `names`: a call of another name is a fault; empty: all names are good.
  explicit ToolCallParser(std::vector<std::string> names = {}) : names_(std::move(names)) {}
  void push(std::string_view text, std::vector<ToolCallDelta>& out) override;
  void finish(std::vector<ToolCallDelta>& out) override;
  bool well_formed() const override { return state_ != State::kBroken; }

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

  std::vector<std::string> names_;
  State state_ = State::kList;
  bool open_ = false;    // the present call's name has come out
  bool given_ = false;   // and some of its arguments
  bool done_ = false;    // its arguments are complete: later members of that name are ignored
  bool escape_ = false;  // in a string
  JsonNesting nesting_;  // of a nested value
  std::string key_, name_, value_;
  std::string waiting_;  // arguments that came before the name
};

/// Reads DeepSeek's calls, in which the marks are part of the text: of V3 and R1, `begin TYPE sep
/// NAME`, a line end, the arguments in a block of code, `end`; and of V3.1, `begin NAME sep
/// ARGUMENTS end`.
class DeepSeekCallParser : public CallParser {
 public:
  void push(std::string_view text, std::vector<ToolCallDelta>& out) override;
  void finish(std::vector<ToolCallDelta>& out) override;
  bool well_formed() const override { return state_ != State::kBroken; }

 private:
  enum class State { kOutside, kHead, kName, kSeek, kArguments, kBroken };

  void step(char c, std::vector<ToolCallDelta>& out);
  void named(std::string_view name, std::vector<ToolCallDelta>& out);
  void argument(char c, std::vector<ToolCallDelta>& out);
  bool reached(std::string_view mark);

  State state_ = State::kOutside;
  std::string text_, head_;  // since the last mark; what stood before the separator
  JsonNesting nesting_;      // of the arguments
};

}  // namespace um
