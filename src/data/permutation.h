// A pseudo-random permutation of [0, n) that needs no memory: shuffling without a list, so that the
// state of a shuffle is one number.
#pragma once

#include <cstdint>

namespace um {

/// A bijection of [0, n) chosen by a key: a Feistel network of four rounds on the smallest even
/// number of bits that holds n, walked until it lands below n (Black and Rogaway 2002, "Ciphers
/// with arbitrary finite domains"). Not cryptography.
class Permutation {
 public:
  Permutation(uint64_t n, uint64_t key);
  uint64_t size() const { return n_; }
  /// The image of i < n. Fewer than four rounds on average times four.
  uint64_t operator()(uint64_t i) const;

 private:
  uint64_t once(uint64_t i) const;
  uint64_t n_, key_;
  int half_bits_ = 1;
};

/// The finaliser of splitmix64 (Steele et al. 2014): mixes all bits of x.
uint64_t mix64(uint64_t x);

}  // namespace um
