// CallReader: the calls in generated text behind the mark that opens them, in the model's form
// (call_form.h), as the text arrives.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/call_form.h"
#include "server/request.h"
#include "server/tool_calls.h"

namespace um {

class CallReader {
 public:
  enum class State {
    kReading,
    kClosed,  ///< the calls have ended
    kFault,   ///< this is no call, or does not go on as one
  };

  /// `tools`: those of the request, for the types of arguments. Both must outlive this.
  static std::unique_ptr<CallReader> make(const CallForm& form, const std::vector<Tool>& tools);
  virtual ~CallReader() = default;

  /// Takes whole characters, in which marks that are tokens stand as in the form. Nothing of a call
  /// comes out before its arguments have begun as the form has it.
  State push(std::string_view text, std::vector<ToolCallDelta>& out);
  /// What was not read as part of a call: behind the last one, or behind what has come out of it.
  std::string_view rest() const { return std::string_view(text_).substr(used_); }

  /// No call has begun behind the last one.
  virtual bool outside() const = 0;
  size_t calls() const { return calls_; }       ///< that have begun to come out
  bool unfinished() const { return in_call_; }  ///< the last of them is not complete

 protected:
  enum class Step { kAgain, kMore, kClosed, kFault };
  enum class Match { kNo, kPartly, kYes };

  CallReader(const CallForm& form, const std::vector<Tool>& tools) : form_(form), tools_(tools) {}
  virtual Step step(std::vector<ToolCallDelta>& out) = 0;

  bool skip_space();  ///< false at the end of the text
  char next() const { return text_[at_]; }
  /// Whether the mark stands here; then it is passed. White space in it stands for any.
  Match take(std::string_view mark);
  Match match(std::string_view mark, size_t& at) const;
  /// Passes the mark that stands behind the calls.
  Step take_close();
  bool is_tool(std::string_view name) const;

  void begin_call(const std::string& name, std::vector<ToolCallDelta>& out);
  void add(std::string_view arguments, std::vector<ToolCallDelta>& out);
  /// The rest of the arguments, which are complete.
  void end_call(std::string_view arguments, std::vector<ToolCallDelta>& out);

  /// Gives out the object at which the text stands, but for its last bracket. True at its end.
  bool take_object(std::vector<ToolCallDelta>& out);
  /// Whether an object with members, or {}, begins here.
  Match object_begins() const;

  const CallForm& form_;
  const std::vector<Tool>& tools_;
  std::string text_;
  size_t at_ = 0;  // what is read
  JsonNesting nesting_;

 private:
  size_t used_ = 0;  // what has come out
  size_t calls_ = 0;
  bool in_call_ = false;
};

std::unique_ptr<CallReader> make_named_reader(const CallForm& form, const std::vector<Tool>& tools);
std::unique_ptr<CallReader> make_literal_reader(const CallForm& form,
                                                const std::vector<Tool>& tools);
std::unique_ptr<CallReader> make_object_reader(const CallForm& form,
                                               const std::vector<Tool>& tools);

}  // namespace um
