// Hash tables whose keys come from outside. Who knows the hash can choose keys that all fall into
// one place, and then n of them take n² steps; so the hash has a key, drawn anew in each process.
// Nothing may depend on the order in which such a table is walked through.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace um {

/// SipHash-c-d (Aumasson & Bernstein 2012).
template <int kCompress, int kFinish>
class SipHash {
 public:
  explicit SipHash(const std::array<uint64_t, 2>& key)
      : v0_(key[0] ^ 0x736f6d6570736575u),
        v1_(key[1] ^ 0x646f72616e646f6du),
        v2_(key[0] ^ 0x6c7967656e657261u),
        v3_(key[1] ^ 0x7465646279746573u) {}

  void word(uint64_t m) {
    v3_ ^= m;
    for (int i = 0; i < kCompress; ++i) round();
    v0_ ^= m;
  }
  uint64_t finish() {
    v2_ ^= 0xff;
    for (int i = 0; i < kFinish; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }
  uint64_t text(std::string_view bytes) {
    const uint64_t length = bytes.size();
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) word(word_of(bytes.substr(0, 8)));
    word(length << 56 | word_of(bytes));
    return finish();
  }

 private:
  /// Little end first, whatever the machine; compilers make one load of it.
  static uint64_t word_of(std::string_view bytes) {
    uint64_t out = 0;
    for (size_t i = 0; i < bytes.size(); ++i)
      out |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    return out;
  }
  static uint64_t turn(uint64_t v, int by) { return v << by | v >> (64 - by); }
  void round() {
    v0_ += v1_, v1_ = turn(v1_, 13) ^ v0_, v0_ = turn(v0_, 32);
    v2_ += v3_, v3_ = turn(v3_, 16) ^ v2_;
    v0_ += v3_, v3_ = turn(v3_, 21) ^ v0_;
    v2_ += v1_, v1_ = turn(v1_, 17) ^ v2_, v2_ = turn(v2_, 32);
  }
  uint64_t v0_, v1_, v2_, v3_;
};

/// Random words, drawn once in the process.
const std::array<uint64_t, 4>& process_secret();

/// For the standard's tables. Not noexcept: then they keep the hashes of texts beside them.
class KeyedHash {
 public:
  using is_transparent = void;
  KeyedHash() : key_{process_secret()[0], process_secret()[1]} {}
  size_t operator()(std::string_view text) const { return SipHash<1, 3>(key_).text(text); }
  size_t operator()(uint64_t value) const {
    SipHash<1, 3> hash(key_);
    hash.word(value);
    return hash.finish();
  }

 private:
  std::array<uint64_t, 2> key_;
};

/// For pairs of ids in tables where each nanosecond counts: a sum of products with secret factors,
/// in which two pairs meet by chance only (Dietzfelbinger 1996), then scattered so that rows of ids
/// do not lie in rows.
class KeyedPairHash {
 public:
  KeyedPairHash() : left_(process_secret()[2] | 1), right_(process_secret()[3] | 1) {}
  uint64_t operator()(int32_t left, int32_t right) const {
    uint64_t v = left_ * static_cast<uint32_t>(left) + right_ * static_cast<uint32_t>(right);
    v ^= v >> 32;
    v *= 0x9E3779B97F4A7C15u;
    return v ^ v >> 29;
  }

 private:
  uint64_t left_, right_;
};

template <class T>
using NameMap = std::unordered_map<std::string, T, KeyedHash, std::equal_to<>>;
using NameSet = std::unordered_set<std::string, KeyedHash, std::equal_to<>>;
/// By numbers that are made of what comes from outside.
template <class T>
using NumberMap = std::unordered_map<uint64_t, T, KeyedHash>;

}  // namespace um
