// See bpe.h.
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kShortWord = 48;  // symbols; longer words take the heap
constexpr uint32_t kNoRank = ~uint32_t{0};

uint64_t mix(uint64_t value) {
  value *= 0x9E3779B97F4A7C15u;
  value ^= value >> 29;
  value *= 0xBF58476D1CE4E5B9u;
  return value ^ (value >> 32);
}

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

Bpe::Bpe(NameMap<int32_t> words, const std::vector<Merge>& merges,
         const std::array<int32_t, 256>& byte_ids, const BpeOptions& options)
    : options_(options), words_(std::move(words)), byte_ids_(byte_ids) {
  for (size_t byte = 0; byte < 256; ++byte) {
    const bool whole = options_.bytes || byte < 128;
    single_[byte] = whole ? find_word(std::string(1, static_cast<char>(byte))) : -1;
  }
  pairs_.resize(std::bit_ceil(merges.size() * 2 + 2));
  pair_mask_ = pairs_.size() - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    uint64_t slot = pair_hash_(merges[rank].left, merges[rank].right) & pair_mask_;
    while (pairs_[slot].key != kNoPair && pairs_[slot].key != key) slot = (slot + 1) & pair_mask_;
    pairs_[slot] = {key, static_cast<uint32_t>(rank), merges[rank].result};
  }
}

bool Bpe::covers_all() const {
  const auto has = [](int32_t id) { return id >= 0; };
  if (options_.bytes) return std::all_of(single_.begin(), single_.end(), has);
  return options_.byte_fallback && std::all_of(byte_ids_.begin(), byte_ids_.end(), has);
}

const Bpe::Pair* Bpe::find_pair(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  uint64_t slot = pair_hash_(left, right) & pair_mask_;
  while (pairs_[slot].key != key) {
    if (pairs_[slot].key == kNoPair) return nullptr;
    slot = (slot + 1) & pair_mask_;
  }
  return &pairs_[slot];
}

int32_t Bpe::find_word(std::string_view word) const {
  const auto it = words_.find(word);
  return it == words_.end() ? -1 : it->second;
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (word.size() > Scratch::kMaxWord) return encode_uncached(word, scratch, ids);
  std::array<char, 24> key{};
  std::memcpy(key.data(), word.data(), word.size());
  key[23] = static_cast<char>(word.size());
  const auto parts = std::bit_cast<std::array<uint64_t, 3>>(key);
  const uint64_t hash = mix(parts[0] ^ mix(parts[1] ^ mix(parts[2])));
  Scratch::Slot& slot = scratch.cache_[hash % Scratch::kSlots];
  if (slot.key == parts) {
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
    return;
  }
  const size_t first = ids.size();
  encode_uncached(word, scratch, ids);
  const size_t count = ids.size() - first;
  if (count > Scratch::kMaxIds) return;
  slot.key = parts;
  slot.count = static_cast<int32_t>(count);
  std::copy(ids.begin() + static_cast<ptrdiff_t>(first), ids.end(), slot.ids.begin());
}

void Bpe::encode_uncached(std::string_view word, Scratch& scratch,
                          std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    const int32_t whole = find_word(word);
    if (whole >= 0) return ids.push_back(whole);
  }
  std::vector<int32_t>& symbols = scratch.symbols_;
  symbols.clear();
  split(word, symbols);
  if (symbols.size() <= kShortWord) {
    merge_short(symbols, scratch);
  } else {
    merge_long(symbols, scratch);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  scratch.trim();
}

void Bpe::Scratch::trim() {
  constexpr size_t kKept = 1 << 16;
  const auto drop = [](auto& list) {
    if (list.capacity() > kKept) list = std::remove_reference_t<decltype(list)>();
  };
  drop(symbols_);
  drop(list_);
  drop(heap_);
}

/// A character that is no token: its bytes, else `unk`, else nothing.
void Bpe::unknown(std::string_view character, bool& fused, std::vector<int32_t>& symbols) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<uint8_t>(c)]; };
  if (options_.byte_fallback &&
      std::all_of(character.begin(), character.end(), [&](char c) { return id_of(c) >= 0; })) {
    for (const char c : character) symbols.push_back(id_of(c));
    fused = false;
  } else if (options_.unk >= 0) {
    if (!fused || !options_.fuse_unk) symbols.push_back(options_.unk);
    fused = true;
  }
}

void Bpe::split(std::string_view word, std::vector<int32_t>& symbols) const {
  bool fused = false;  // the last symbol is an `unk` that takes further unknowns in
  while (!word.empty()) {
    const size_t size = options_.bytes ? 1 : utf8_step(word).bytes;
    const int32_t id =
        size == 1 ? single_[static_cast<uint8_t>(word[0])] : find_word(word.substr(0, size));
    if (id >= 0) {
      symbols.push_back(id);
      fused = false;
    } else {
      unknown(word.substr(0, size), fused, symbols);
    }
    word.remove_prefix(size);
  }
}

void Bpe::merge_short(std::vector<int32_t>& symbols, Scratch& scratch) const {
  std::vector<uint32_t>& ranks = scratch.ranks_;  // of the pair that begins here
  const auto rank_at = [&](size_t i) {
    const Pair* pair = i + 1 < symbols.size() ? find_pair(symbols[i], symbols[i + 1]) : nullptr;
    return pair != nullptr ? pair->rank : kNoRank;
  };
  ranks.clear();
  for (size_t i = 0; i < symbols.size(); ++i) ranks.push_back(rank_at(i));
  while (symbols.size() > 1) {
    const auto best = std::min_element(ranks.begin(), ranks.end());
    if (*best == kNoRank) return;
    const auto at = static_cast<size_t>(best - ranks.begin());
    symbols[at] = find_pair(symbols[at], symbols[at + 1])->result;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    ranks.erase(best + 1);
    ranks[at] = rank_at(at);
    if (at > 0) ranks[at - 1] = rank_at(at - 1);
  }
}

void Bpe::merge_long(std::vector<int32_t>& symbols, Scratch& scratch) const {
  auto& list = scratch.list_;
  auto& heap = scratch.heap_;
  const auto size = static_cast<int32_t>(symbols.size());
  const auto symbol = [&](int32_t at) -> Scratch::Symbol& { return list[static_cast<size_t>(at)]; };
  const auto offer = [&](int32_t at) {
    if (at < 0 || symbol(at).next >= size) return;
    const int32_t left = symbol(at).id, right = symbol(symbol(at).next).id;
    const Pair* pair = find_pair(left, right);
    if (pair == nullptr) return;
    heap.push_back({pair->rank, at, left, right, pair->result});
    std::push_heap(heap.begin(), heap.end());
  };
  list.clear();
  heap.clear();
  for (int32_t i = 0; i < size; ++i) {
    list.push_back({symbols[static_cast<size_t>(i)], i - 1, i + 1});
  }
  const auto check = [&] {
    if (scratch.guard != nullptr) scratch.guard->check(0);
  };
  for (int32_t i = 0; i < size; ++i) check(), offer(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    check();
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbol(best.at);
    if (left.id != best.left || left.next >= size || symbol(left.next).id != best.right) continue;
    Scratch::Symbol& right = symbol(left.next);
    left.id = best.result;
    left.next = right.next;
    right.id = -1;  // gone
    if (left.next < size) symbol(left.next).previous = best.at;
    offer(best.at);
    offer(left.previous);
  }
  symbols.clear();
  for (int32_t i = 0; i < size; i = symbol(i).next) symbols.push_back(symbol(i).id);
}

}  // namespace um
