// Random choices of a generator, one after the other: the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/rng.h"

namespace um {

class TaskRandom {
 public:
  /// A stream of its own for each problem.
  TaskRandom(uint64_t seed, std::string_view task, int level, uint64_t index)
      : stream_(mix64(seed) ^ hash_name(task), static_cast<uint64_t>(level) << 56 ^ index) {}

  /// Uniform in [low, high]. (The error of a multiplication in place of a division is below 2^-50.)
  int64_t between(int64_t low, int64_t high) {
    const auto count = static_cast<uint64_t>(high - low) + 1;
    const auto drawn = static_cast<unsigned __int128>(stream_.bits(next_++)) * count >> 64;
    return low + static_cast<int64_t>(drawn);
  }
  bool coin() { return between(0, 1) == 1; }
  size_t index(size_t count) {
    return static_cast<size_t>(between(0, static_cast<int64_t>(count) - 1));
  }
  template <class T>
  const T& pick(std::span<const T> from) {
    return from[index(from.size())];
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[index(from.size())];
  }
  template <class T>
  void shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[index(i)]);
  }
  /// `count` different ones of them, in random order.
  template <class T>
  std::vector<T> choose(std::span<const T> from, size_t count) {
    std::vector<T> list(from.begin(), from.end());
    shuffle(list);
    list.resize(count);
    return list;
  }

 private:
  RandomStream stream_;
  uint64_t next_ = 0;
};

}  // namespace um
