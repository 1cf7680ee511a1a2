// TextStream: generated tokens → the text that may be shown so far.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/stop.h"
#include "text/tokenizer.h"

namespace um {

/// Holds back what is not decided yet: the beginning of a character, or of a stop string.
class TextStream {
 public:
  /// `prompt` is what the text goes on from (a leading space may depend on it). The tokenizer must
  /// outlive this.
  TextStream(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt,
             std::vector<std::string> stop, bool skip_special)
      : detokenizer_(tokenizer, skip_special), filter_(std::move(stop)) {
    detokenizer_.prime(prompt);
  }
  /// The text that can be shown now that `id` has come; nothing more once `stopped()`.
  std::string push(int32_t id) { return filter_.push(detokenizer_.push(id)); }
  /// What was held back, when no more tokens come.
  std::string finish() {
    std::string text = filter_.push(detokenizer_.finish());
    return filter_.stopped() ? text : text + filter_.finish();
  }
  bool stopped() const { return filter_.stopped(); }
  const std::string& matched() const { return filter_.matched(); }

 private:
  Detokenizer detokenizer_;
  StopFilter filter_;
};

}  // namespace um
