// LoopDetector: has a generation begun to repeat one block of tokens for ever? Rolling hashes of
// the text so far answer that in constant time per token for any period (the idea of the repetition
// self-repair of Pangu Embedded, techniques page of the paper arXiv:2505.22375).
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace um {

class LoopDetector {
 public:
  /// The text ends with one block of `period` tokens that stands there `repeats` times or more.
  struct Loop {
    int64_t period = 0;
    int64_t repeats = 0;  ///< as many as make a loop of that period: 4, short blocks more
    int32_t next = 0;     ///< the token that would carry it on
  };

  void push(int32_t id);
  /// Forgets the last token. There must be one.
  void pop();
  /// The shortest loop that the text ends with, if it does.
  std::optional<Loop> loop() const;

 private:
  bool repeats_with(size_t period, size_t length) const;
  uint64_t hash(size_t begin, size_t end) const;

  std::vector<int32_t> ids_;
  std::vector<uint64_t> prefix_{0};             // hash of the first i tokens
  std::vector<uint64_t> powers_{1};             // of the hash's base
  std::vector<int32_t> earlier_;                // where the window that ends here last ended, or -1
  std::unordered_map<uint64_t, int32_t> last_;  // window's hash → where it last ended
};

}  // namespace um
