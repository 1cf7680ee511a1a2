// CodeFence: whether a place in a text that arrives in pieces is inside code of Markdown.
#pragma once

#include <string_view>

namespace um {

/// Blocks of code between lines that begin with ``` or ~~~.
class CodeFence {
 public:
  void push(std::string_view text);
  /// Whether the text so far ends inside a block, or right behind a backtick.
  bool inside() const { return open_ != 0 || last_ == '`'; }

 private:
  void end_line();

  char open_ = 0, run_of_ = 0, last_ = 0;
  size_t open_length_ = 0, run_ = 0, indent_ = 0;
  bool run_ended_ = false, more_ = false;  // of the present line; something follows the run
};

}  // namespace um
