// PageCache: which pages of the KV pool are free, in use, or kept because a later prompt may begin
// with the same tokens.
//
// Kept pages form a tree: a node is one page, reached from its parent by the tokens it holds. Only
// rows that were computed as rows of a prompt are kept (the engine's rule of bits: they are then
// the same bits that any other prompt with the same beginning would compute).
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace um {

/// The part of a prompt that is in the cache already.
struct PrefixMatch {
  std::vector<int32_t> pages;  ///< whole pages, one more user each; give them back with release()
  int32_t copy_page = -1;      ///< a page whose first `copy_rows` rows come next, one more user
                               ///< too; -1 for none. Copy them to a page of one's own.
  int64_t copy_rows = 0;
};

class PageCache {
 public:
  /// With `keep` false nothing outlives its last user. With `parts` false only whole pages match.
  PageCache(int64_t pages, int64_t page_rows, bool keep, bool parts = true);

  /// A page with one user; takes the longest unused kept page if none is free. -1 if all are in
  /// use.
  int32_t allocate();
  /// One user less for each of them. Those never kept are free then.
  void release(std::span<const int32_t> pages);

  /// The longest beginning of `tokens` that is kept, at most `tokens.size()` rows.
  PrefixMatch match(std::span<const int32_t> tokens);
  /// Keeps the pages of a sequence in use whose first rows hold `tokens`: whole pages, and the last
  /// one in part if `partial`. Where the same tokens are kept already, `pages` gets that page in
  /// place of its own, which has the same bits.
  void keep(std::span<const int32_t> tokens, std::span<int32_t> pages, bool partial);

  /// Keeps nothing any more: unused pages are free, those in use as soon as they are released.
  void forget();

  int64_t page_rows() const { return page_rows_; }
  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }
  int64_t available() const;              ///< pages allocate() can still give
  int64_t kept() const { return kept_; }  ///< unused pages that are kept

 private:
  struct Page {
    int32_t users = 0;
    bool in_tree = false;
    int32_t parent = -1;               // in the tree; -1 is the root
    std::vector<int32_t> tokens = {};  // of the rows that are kept; fewer than page_rows: a leaf
    std::vector<int32_t> children = {};
    uint64_t last_use = 0;
  };

  Page& page(int32_t id) { return pages_[static_cast<size_t>(id)]; }
  std::vector<int32_t>& children(int32_t parent) {
    return parent < 0 ? roots_ : page(parent).children;
  }
  static uint64_t key(int32_t parent, std::span<const int32_t> tokens);
  int32_t find_whole(int32_t parent, std::span<const int32_t> tokens) const;
  void add_user(int32_t id);
  void add_node(int32_t id, int32_t parent, std::span<const int32_t> tokens);
  void remove_node(int32_t id);
  void update_evictable(int32_t id);

  const int64_t page_rows_;
  const bool keep_, parts_;
  std::vector<Page> pages_;
  std::vector<int32_t> free_, roots_;
  std::unordered_map<uint64_t, int32_t> whole_;       // whole pages by parent and tokens
  std::set<std::pair<uint64_t, int32_t>> evictable_;  // unused leaves by last use
  int64_t kept_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace um
