// Byte-pair encoding (Sennrich et al. 2016) of one word: symbols are merged pair by pair, the pair
// learnt first goes first, of equal ones the leftmost. Short words by a scan, long ones by a heap;
// a cache of recent words in the caller's scratch. Nothing is allocated per word.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/keyed_hash.h"
#include "text/encode_guard.h"

namespace um {

struct BpeOptions {
  bool bytes = true;           // symbols are bytes, else characters
  bool byte_fallback = false;  // unknown characters become `<0xNN>` tokens
  bool ignore_merges = false;  // a word that is in the vocabulary is its token
  bool fuse_unk = false;       // unknown characters in a row are one `unk`
  int32_t unk = -1;            // -1: unknown symbols vanish
};

class Bpe {
 public:
  struct Merge {
    int32_t left, right, result;
  };
  /// Buffers and the cache of one thread; belongs to one Bpe.
  class Scratch;

  /// `words`: token texts as this class sees them (raw bytes where `options.bytes`) with their ids.
  /// `merges`: the earlier, the stronger; of equal pairs the last counts. `byte_ids`: the
  /// `<0xNN>` tokens, -1 where missing.
  Bpe(NameMap<int32_t> words, const std::vector<Merge>& merges,
      const std::array<int32_t, 256>& byte_ids, const BpeOptions& options);

  /// Appends the ids of `word` (valid UTF-8).
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

  /// Every character has a token, or tokens for its bytes.
  bool covers_all() const;

 private:
  struct Pair {
    uint64_t key = kNoPair;  // left << 32 | right
    uint32_t rank = 0;
    int32_t result = -1;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  const Pair* find_pair(int32_t left, int32_t right) const;
  int32_t find_word(std::string_view word) const;
  void encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;
  void split(std::string_view word, std::vector<int32_t>& symbols) const;
  void unknown(std::string_view character, bool& fused, std::vector<int32_t>& symbols) const;
  void merge_short(std::vector<int32_t>& symbols, Scratch& scratch) const;
  void merge_long(std::vector<int32_t>& symbols, Scratch& scratch) const;

  BpeOptions options_;
  NameMap<int32_t> words_;
  std::array<int32_t, 256> single_{};    // the token of one byte (of one ASCII character)
  std::array<int32_t, 256> byte_ids_{};  // `<0xNN>`
  std::vector<Pair> pairs_;              // open addressing
  uint64_t pair_mask_ = 0;
  KeyedPairHash pair_hash_;
};

class Bpe::Scratch {
 public:
  Scratch() : cache_(kSlots) {}
  EncodeGuard* guard = nullptr;  ///< asked while a long word is merged

 private:
  friend class Bpe;
  static constexpr size_t kSlots = 1 << 15;  // 2 MiB
  static constexpr size_t kMaxWord = 23, kMaxIds = 9;
  /// One cache line: the word, zeros, its length; and its ids.
  struct Slot {
    std::array<uint64_t, 3> key{};
    int32_t count = 0;
    std::array<int32_t, kMaxIds> ids{};
  };
  /// A symbol of a long word, in a list.
  struct Symbol {
    int32_t id, previous, next;  // id -1: merged away
  };
  /// A merge that may be done; stale if the symbols have changed since.
  struct Candidate {
    uint32_t rank;
    int32_t at, left, right, result;
    bool operator<(const Candidate& o) const {  // for std::push_heap: the best on top
      return rank != o.rank ? rank > o.rank : at > o.at;
    }
  };
  /// Gives back what a very long word took.
  void trim();
  std::vector<Slot> cache_;
  std::vector<int32_t> symbols_;
  std::vector<uint32_t> ranks_;
  std::vector<Symbol> list_;
  std::vector<Candidate> heap_;
};

}  // namespace um
