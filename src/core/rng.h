// Counter-based random numbers: value i of a stream is a pure function of (seed, stream, i), so
// that any part can be made in any order on any number of threads with the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace um {

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection that scatters all bits.
inline uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// FNV-1a, to name a stream by a string.
inline uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

class RandomStream {
 public:
  RandomStream(uint64_t seed, uint64_t stream) : key_(mix64(seed) ^ mix64(stream * 2 + 1)) {}

  uint64_t bits(uint64_t i) const { return mix64(key_ ^ mix64(i)); }
  /// Uniform in [0, 1), 53 bits.
  double uniform(uint64_t i) const { return static_cast<double>(bits(i) >> 11) * 0x1p-53; }
  /// Standard normal (Box & Muller 1958).
  double normal(uint64_t i) const {
    const double radius = std::sqrt(-2.0 * std::log1p(-uniform(2 * i)));
    return radius * std::cos(2.0 * std::numbers::pi * uniform(2 * i + 1));
  }

 private:
  uint64_t key_;
};

}  // namespace um
