// How much text the steps of a tokenizer.json may make: each may make a text longer, and all of
// them together would do so exponentially.
#pragma once

#include <cstddef>

#include "core/error.h"

namespace um {

/// Bytes that one part of the file may still make of its input, all steps together.
class TextRoom {
 public:
  /// `part`: its name in the file.
  TextRoom(const char* part, size_t input) : part_(part), left_(kTimes * input + kFree) {}

  /// A step makes so many bytes. Throws Error.
  void take(size_t bytes) {
    UM_CHECK(bytes <= left_, "tokenizer.json: {}: its steps make the text over {} times longer",
             part_, kTimes);
    left_ -= bytes;
  }

 private:
  static constexpr size_t kTimes = 200, kFree = size_t{1} << 20;
  const char* part_;
  size_t left_;
};

}  // namespace um
