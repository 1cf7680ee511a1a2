// See code_fence.h.
#include "server/code_fence.h"

namespace um {

void CodeFence::push(std::string_view text) {
  constexpr size_t kMaxIndent = 3;
  for (const char c : text) {
    last_ = c;
    if (c == '\n') {
      end_line();
    } else if (run_ == 0 && !run_ended_ && c == ' ' && indent_ < kMaxIndent) {
      ++indent_;
    } else if (!run_ended_ && (c == '`' || c == '~') && (run_ == 0 || c == run_of_)) {
      run_of_ = c;
      ++run_;
    } else {
      run_ended_ = true;
      // What opens a block of backticks has none behind them in its line.
      if (c != ' ' && c != '\t' && c != '\r') more_ = true;
      if (c == '`' && run_of_ == '`' && open_ == 0) run_ = 0;
    }
  }
}

void CodeFence::end_line() {
  constexpr size_t kFence = 3;
  if (open_ == 0 && run_ >= kFence) {
    open_ = run_of_;
    open_length_ = run_;
  } else if (open_ != 0 && run_of_ == open_ && run_ >= open_length_ && !more_) {
    open_ = 0;
  }
  run_ = indent_ = 0;
  run_of_ = 0;
  run_ended_ = more_ = false;
}

}  // namespace um
