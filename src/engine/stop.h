// Stop strings in a stream of text: they may begin in one token and end in another, so text that
// could be the beginning of one is held back until that is decided.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace um {

class StopFilter {
 public:
  /// Throws UsageError for an empty stop string.
  explicit StopFilter(std::vector<std::string> stops);

  /// The text that may be shown after `text` has come. When a stop string is complete, that is what
  /// stood before it, and `stopped()` is true.
  /// `may_stop` false: stop strings that end in this text do not count, they are text.
  std::string push(std::string_view text, bool may_stop = true);
  /// The text still held back when the stream ends without a stop string.
  std::string finish();

  bool stopped() const { return stopped_; }
  /// The stop string that was complete first; empty until then.
  const std::string& matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_, matched_;
  size_t uncounted_ = 0;  // of held_: no stop string that ends here counts
  bool stopped_ = false;
};

}  // namespace um
