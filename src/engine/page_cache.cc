// See page_cache.h.
#include "engine/page_cache.h"

#include <algorithm>

#include "core/error.h"
#include "core/keyed_hash.h"

namespace um {
namespace {

/// How many children of one node are looked through for a common beginning: the newest ones.
constexpr size_t kPartialCandidates = 64;

int64_t common(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first -
         a.begin();
}

}  // namespace

PageCache::PageCache(int64_t pages, int64_t page_rows, bool keep, bool parts)
    : page_rows_(page_rows), keep_(keep), parts_(parts), pages_(static_cast<size_t>(pages)) {
  UM_CHECK(pages > 0 && page_rows > 0, "a cache of {} pages of {} rows", pages, page_rows);
  for (int64_t id = pages; id-- > 0;) free_.push_back(static_cast<int32_t>(id));
}

int64_t PageCache::available() const {
  return static_cast<int64_t>(free_.size()) + kept_;
}

int32_t PageCache::allocate() {
  if (free_.empty()) {
    if (evictable_.empty()) return -1;
    remove_node(evictable_.begin()->second);
  }
  const int32_t id = free_.back();
  free_.pop_back();
  page(id).users = 1;
  return id;
}

void PageCache::release(std::span<const int32_t> pages) {
  // From the end: a page's children are let go before it, so that they are the first to be evicted.
  for (size_t i = pages.size(); i-- > 0;) {
    const int32_t id = pages[i];
    UM_CHECK(page(id).users > 0, "page {} is released and has no user", id);
    if (--page(id).users > 0) continue;
    if (!page(id).in_tree) {
      free_.push_back(id);
      continue;
    }
    page(id).last_use = ++clock_;
    ++kept_;
    update_evictable(id);
  }
}

void PageCache::add_user(int32_t id) {
  if (page(id).users++ > 0) return;
  --kept_;
  update_evictable(id);
}

/// Call after a change of users or children; last_use only changes while a page is not in the set.
void PageCache::update_evictable(int32_t id) {
  const Page& p = page(id);
  const std::pair<uint64_t, int32_t> entry{p.last_use, id};
  if (p.in_tree && p.users == 0 && p.children.empty())
    evictable_.insert(entry);
  else
    evictable_.erase(entry);
}

uint64_t PageCache::key(int32_t parent, std::span<const int32_t> tokens) {
  SipHash<1, 3> hash({process_secret()[0], process_secret()[1]});
  hash.word(static_cast<uint32_t>(parent));
  for (const int32_t token : tokens) hash.word(static_cast<uint32_t>(token));
  return hash.finish();
}

int32_t PageCache::find_whole(int32_t parent, std::span<const int32_t> tokens) const {
  const auto found = whole_.find(key(parent, tokens));
  if (found == whole_.end()) return -1;
  const Page& p = pages_[static_cast<size_t>(found->second)];
  const bool same = p.parent == parent && std::ranges::equal(p.tokens, tokens);
  return same ? found->second : -1;  // else two keys collide
}

PrefixMatch PageCache::match(std::span<const int32_t> tokens) {
  PrefixMatch result;
  int32_t node = -1;
  const auto rows = static_cast<size_t>(page_rows_);
  while (tokens.size() >= rows) {
    const int32_t next = find_whole(node, tokens.first(rows));
    if (next < 0) break;
    add_user(next);
    result.pages.push_back(next);
    node = next;
    tokens = tokens.subspan(rows);
  }
  if (!parts_) return result;
  const std::vector<int32_t>& below = children(node);
  for (size_t i = below.size(), seen = 0; i-- > 0 && seen < kPartialCandidates; ++seen) {
    const int64_t shared = common(page(below[i]).tokens, tokens);
    if (shared <= result.copy_rows) continue;
    result.copy_rows = shared;
    result.copy_page = below[i];
  }
  if (result.copy_page >= 0) add_user(result.copy_page);
  return result;
}

void PageCache::keep(std::span<const int32_t> tokens, std::span<int32_t> pages, bool partial) {
  if (!keep_) return;
  int32_t node = -1;
  const auto rows = static_cast<size_t>(page_rows_);
  for (int32_t& id : pages) {
    if (tokens.empty() || (tokens.size() < rows && !(partial && parts_))) return;
    const auto part = tokens.first(std::min(rows, tokens.size()));
    tokens = tokens.subspan(part.size());
    if (part.size() < rows) {
      for (const int32_t child : children(node))
        if (common(page(child).tokens, part) == std::ssize(part)) return;
      if (!page(id).in_tree) add_node(id, node, part);
      return;
    }
    const int32_t found = find_whole(node, part);
    if (found < 0) {
      if (whole_.contains(key(node, part))) return;  // two keys collide: the rest is not kept
      add_node(id, node, part);
    } else if (found != id) {
      add_user(found);
      release(std::span(&id, 1));
      id = found;
    }
    node = id;
  }
}

void PageCache::forget() {
  for (size_t i = 0; i < pages_.size(); ++i) {
    Page& p = pages_[i];
    if (p.in_tree && p.users == 0) free_.push_back(static_cast<int32_t>(i));
    p.in_tree = false;
    p.parent = -1;
    p.tokens.clear();
    p.children.clear();
  }
  whole_.clear();
  evictable_.clear();
  roots_.clear();
  kept_ = 0;
}

void PageCache::add_node(int32_t id, int32_t parent, std::span<const int32_t> tokens) {
  Page& p = page(id);
  p.in_tree = true;
  p.parent = parent;
  p.tokens.assign(tokens.begin(), tokens.end());
  if (std::ssize(tokens) == page_rows_) whole_[key(parent, tokens)] = id;
  children(parent).push_back(id);
  if (parent >= 0) update_evictable(parent);
}

void PageCache::remove_node(int32_t id) {
  Page& p = page(id);
  evictable_.erase({p.last_use, id});
  if (std::ssize(p.tokens) == page_rows_) whole_.erase(key(p.parent, p.tokens));
  std::vector<int32_t>& siblings = children(p.parent);
  siblings.erase(std::find(siblings.begin(), siblings.end(), id));
  if (p.parent >= 0) update_evictable(p.parent);
  p.in_tree = false;
  p.parent = -1;
  p.tokens.clear();
  --kept_;
  free_.push_back(id);
}

}  // namespace um
