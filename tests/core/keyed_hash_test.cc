// See core/keyed_hash.h. The texts here all have one hash of the standard library.
#include "core/keyed_hash.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "core/rng.h"
#include "tests/core/linear_util.h"

namespace um {
namespace {

std::string first_bytes(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += static_cast<char>(i);
  return out;
}

// Vectors of the reference implementation, under the key 00 01 02 ... 0f.
TEST(KeyedHash, IsSipHash) {
  const std::array<uint64_t, 2> key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  EXPECT_EQ((SipHash<2, 4>(key).text(first_bytes(0))), 0x726fdb47dd0e0e31u);
  EXPECT_EQ((SipHash<2, 4>(key).text(first_bytes(15))), 0xa129ca6149be45e5u);
  EXPECT_EQ((SipHash<1, 3>(key).text(first_bytes(0))), 0xabac0158050fc4dcu);
}

constexpr uint64_t kFactor = 0xc6a4a7935bd1e995u;  // of MurmurHash 2

/// The inverse of an odd number modulo 2^64, by Newton's iteration.
uint64_t inverse_of(uint64_t odd) {
  uint64_t x = odd;
  for (int i = 0; i < 6; ++i) x *= 2 - odd * x;
  return x;
}

/// Texts of 16 bytes: the first half is a number, the second what undoes its effect.
std::vector<std::string> colliding(size_t count) {
  const uint64_t inverse = inverse_of(kFactor);
  std::vector<std::string> out;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t half = i * kFactor;
    half ^= half >> 47;
    const uint64_t state = (0xc70f6907u ^ 16 * kFactor ^ half * kFactor) * kFactor;
    uint64_t other = (state ^ 0x1234567812345678u) * inverse;
    other ^= other >> 47;
    other *= inverse;
    std::string text(16, '\0');
    std::memcpy(text.data(), &i, 8);
    std::memcpy(text.data() + 8, &other, 8);
    out.push_back(text);
  }
  return out;
}

TEST(KeyedHash, TextsThatCollideInTheStandardsTakeNoLonger) {
  const auto some = colliding(3);
  if (std::hash<std::string>()(some[1]) != std::hash<std::string>()(some[2]))
    GTEST_SKIP() << "another standard library";
  expect_linear(5000, colliding, [](const std::vector<std::string>& names) {
    const NameSet set(names.begin(), names.end());
    EXPECT_EQ(set.size(), names.size());
  });
}

TEST(KeyedHash, NumbersThatCollideInTheStandardsTakeNoLonger) {
  const auto make = [](size_t size) {  // multiples of the number of places
    std::unordered_map<uint64_t, int> table;
    table.reserve(size);
    std::vector<uint64_t> numbers;
    for (size_t i = 0; i < size; ++i) numbers.push_back(i * table.bucket_count());
    return numbers;
  };
  expect_linear(10000, make, [](const std::vector<uint64_t>& numbers) {
    NumberMap<int> map;
    map.reserve(numbers.size());
    for (const uint64_t number : numbers) map.emplace(number, 0);
    EXPECT_EQ(map.size(), numbers.size());
  });
}

}  // namespace
}  // namespace um
