// TokenTrie: the bytes of a vocabulary's tokens, sorted so that an automaton walks them all at once
// and leaves out whole branches. "Plain" tokens (complete characters of plain_characters(), at most
// 32 of them) lie apart: inside a JSON string all of them are allowed without looking.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/grammar.h"

namespace um {

class TokenTrie {
 public:
  /// A branch in preorder: its last byte, the tokens that end there, and how many nodes belong to
  /// the branch.
  struct Node {
    uint32_t branch = 1;       ///< nodes of the branch, this one included
    uint32_t first_token = 0;  ///< in Part::tokens; they end where the next node's begin
    uint8_t byte = 0;
    uint8_t depth = 0;  ///< bytes before this one
  };
  struct Part {
    std::vector<Node> nodes;  ///< and one behind the last
    std::vector<int32_t> tokens;
  };
  using Bits = std::vector<uint64_t>;  ///< one bit for each id

  /// `bytes` by id; tokens without bytes, or of more than 255, are in no part.
  explicit TokenTrie(std::vector<std::string> bytes);

  std::string_view bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  int32_t vocab_size() const { return static_cast<int32_t>(bytes_.size()); }
  const Part& plain() const { return plain_; }
  const Part& rest() const { return rest_; }
  /// The plain tokens of at most so many characters (0 to Grammar::kRoom).
  const Bits& plain_up_to(int characters) const {
    return plain_up_to_[static_cast<size_t>(characters)];
  }
  Bits no_tokens() const { return Bits((bytes_.size() + 63) / 64); }

 private:
  Part make_part(std::vector<int32_t> ids) const;

  std::vector<std::string> bytes_;
  Part plain_, rest_;
  std::vector<Bits> plain_up_to_;
};

inline void set_bit(TokenTrie::Bits& bits, int32_t id) {
  bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

inline void clear_bit(TokenTrie::Bits& bits, int32_t id) {
  bits[static_cast<size_t>(id) / 64] &= ~(uint64_t{1} << (id % 64));
}

}  // namespace um
