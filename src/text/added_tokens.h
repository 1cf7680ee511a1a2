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
  std::string normal = {};   // `text` as the normaliser leaves it, if `normalized`
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
  /// Tokens are found in the untouched text: also in the white space that the one before swallows.
  /// `accept`, if given: whether a token counts at this place of the text.
  void cut(std::string_view text, const std::function<void(std::string_view)>& plain,
           const std::function<void(const AddedToken&)>& token, const Accept& accept = {}) const;

 private:
  /// Of a tree by bytes: the tokens that begin alike, up to where they part or one of them ends.
  struct Node {
    size_t begin = 0, end = 0;              // of tokens_
    size_t start = 0, stop = 0;             // the bytes of their texts that it reads
    size_t token = 0;                       // the one that ends here, ...
    bool ends = false;                      // ... if there is one
    size_t children = 0, children_end = 0;  // of nodes_, by first byte
  };
  void grow(size_t index);
  const AddedToken* match(std::string_view text) const;
  std::vector<AddedToken> tokens_;  // sorted by text
  std::vector<Node> nodes_;         // at most two for each token
  std::array<bool, 256> begins_{};  // by first byte
};

}  // namespace um
