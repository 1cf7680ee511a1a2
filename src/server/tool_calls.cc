// See tool_calls.h.
#include "server/tool_calls.h"

namespace um {

void add_to_call(std::vector<ToolCallDelta>& out, size_t index, std::string_view arguments,
                 bool complete) {
  if (out.empty() || out.back().index != index) out.push_back({.index = index});
  out.back().arguments += arguments;
  out.back().complete = out.back().complete || complete;
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

}  // namespace um
