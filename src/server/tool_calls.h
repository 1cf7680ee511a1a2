// What became known about the calls in an answer, as it arrives.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// Of one call: its name, once; then pieces of its arguments' JSON text; then that it is complete.
/// Until then the arguments lack their last bracket, so what was cut is never a whole object.
struct ToolCallDelta {
  size_t index = 0;
  std::string name = {};       ///< not empty exactly where a call begins
  std::string arguments = {};  ///< a piece
  bool complete = false;       ///< nothing more comes
};

/// Appends a piece of arguments, or the end, of call `index`; makes one delta of what comes
/// together.
void add_to_call(std::vector<ToolCallDelta>& out, size_t index, std::string_view arguments,
                 bool complete = false);

/// Follows a JSON object or array from its first character to the bracket that closes it.
class JsonNesting {
 public:
  /// True for that bracket.
  bool closes(char c);

 private:
  bool quoted_ = false, escape_ = false;
  int depth_ = 0;
};

}  // namespace um
