// Added tokens: texts that are cut out before a tokenizer.json's model sees the rest, with the
// conditions that go with them (single words, white space swallowed on either side).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace um {

struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special = false;      // left out by `skip_special`
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // swallows the white space after it
  bool single_word = false;  // not beside a letter, digit or underscore
  bool normalized = false;   // looked for after normalising
};

/// A set of added tokens that finds them in texts, leftmost and longest first.
class AddedTokens {
 public:
  void add(AddedToken token);
  /// To be called after the last `add`.
  void finish();
  bool empty() const { return tokens_.empty(); }

  using Accept = std::function<bool(const AddedToken&, size_t at)>;
  /// Calls `plain(stretch)` and `token(added)` for the parts of `text` (valid UTF-8) in order.
  /// `accept`, if given: whether a token counts at this place of the text.
  void cut(std::string_view text, const std::function<void(std::string_view)>& plain,
           const std::function<void(const AddedToken&)>& token, const Accept& accept = {}) const;

 private:
  const AddedToken* match(std::string_view text) const;
  std::vector<AddedToken> tokens_;  // sorted by text
  std::array<bool, 256> begins_{};  // by first byte
};

}  // namespace um
