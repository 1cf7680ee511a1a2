// See permutation.h.
#include "data/permutation.h"

namespace um {

uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

Permutation::Permutation(uint64_t n, uint64_t key) : n_(n), key_(key) {
  while (half_bits_ < 32 && (n - 1) >> (2 * half_bits_) != 0) ++half_bits_;
}

uint64_t Permutation::once(uint64_t i) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = i >> half_bits_, right = i & mask;
  for (uint64_t round = 0; round < 4; ++round) {
    const uint64_t mixed = left ^ (mix64(mix64(key_ + round) ^ right) & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

uint64_t Permutation::operator()(uint64_t i) const {
  do {
    i = once(i);
  } while (i >= n_);
  return i;
}

}  // namespace um
