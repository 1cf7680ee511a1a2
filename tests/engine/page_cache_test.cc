// The page cache: users, prefixes, eviction.
#include "engine/page_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/rng.h"

namespace um {
namespace {

std::vector<int32_t> numbers(int32_t begin, int32_t count) {
  std::vector<int32_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), begin);
  return out;
}

std::vector<int32_t> take(PageCache& cache, int count) {
  std::vector<int32_t> pages;
  for (int i = 0; i < count; ++i) pages.push_back(cache.allocate());
  return pages;
}

TEST(PageCache, GivesEveryPageOnceAndThenNone) {
  PageCache cache(3, 4, true);
  std::vector<int32_t> pages = take(cache, 3);
  std::sort(pages.begin(), pages.end());
  EXPECT_EQ(pages, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(cache.allocate(), -1);
  EXPECT_EQ(cache.available(), 0);
  cache.release(pages);
  EXPECT_EQ(cache.available(), 3);
}

TEST(PageCache, FindsTheLongestPrefixByPagesAndRows) {
  PageCache cache(8, 4, true);
  const std::vector<int32_t> text = numbers(0, 11);
  std::vector<int32_t> pages = take(cache, 3);
  cache.keep(text, pages, true);
  cache.release(pages);
  EXPECT_EQ(cache.kept(), 3);

  std::vector<int32_t> other = text;
  other[6] = 99;
  const PrefixMatch match = cache.match(other);
  EXPECT_EQ(match.pages, (std::vector<int32_t>{pages[0]}));
  EXPECT_EQ(match.copy_page, pages[1]);
  EXPECT_EQ(match.copy_rows, 2);
  const PrefixMatch all = cache.match(text);
  EXPECT_EQ(all.pages, (std::vector<int32_t>{pages[0], pages[1]}));
  EXPECT_EQ(all.copy_page, pages[2]);
  EXPECT_EQ(all.copy_rows, 3);
  const PrefixMatch none = cache.match(numbers(50, 9));
  EXPECT_TRUE(none.pages.empty());
  EXPECT_EQ(none.copy_page, -1);
}

TEST(PageCache, EvictsTheLongestUnusedLeafFirst) {
  PageCache cache(4, 2, true);
  std::vector<int32_t> first = take(cache, 2), second = take(cache, 2);
  cache.keep(numbers(0, 4), first, false);
  cache.keep(numbers(10, 4), second, false);
  cache.release(first);
  cache.release(second);
  cache.release(cache.match(numbers(0, 2)).pages);  // used again: now the second is older
  EXPECT_EQ(cache.allocate(), first[1]) << "a leaf unused since the first release";
  EXPECT_EQ(cache.allocate(), second[1]);
  EXPECT_EQ(cache.allocate(), second[0]);
  EXPECT_EQ(cache.match(numbers(0, 2)).pages, (std::vector<int32_t>{first[0]}));
  EXPECT_EQ(cache.allocate(), -1) << "the last one is in use";
}

TEST(PageCache, TwoWithTheSameTokensShareOnePage) {
  PageCache cache(4, 2, true);
  std::vector<int32_t> first = take(cache, 2), second = take(cache, 2);
  cache.keep(numbers(0, 4), first, false);
  cache.keep(numbers(0, 4), second, false);
  EXPECT_EQ(second, first);
  EXPECT_EQ(cache.available(), 2);
  cache.release(first);
  EXPECT_EQ(cache.available(), 2) << "the second still uses them";
  cache.release(second);
  EXPECT_EQ(cache.available(), 4);
}

TEST(PageCache, KeepsNothingWhenTold) {
  PageCache cache(2, 2, false);
  std::vector<int32_t> pages = take(cache, 2);
  cache.keep(numbers(0, 4), pages, true);
  cache.release(pages);
  EXPECT_EQ(cache.kept(), 0);
  EXPECT_TRUE(cache.match(numbers(0, 4)).pages.empty());
}

/// Sequences come and go at random; each page always has as many users as sequences hold it.
TEST(PageCache, RandomUseLosesNoPage) {
  constexpr int64_t kPages = 16, kRows = 2;
  PageCache cache(kPages, kRows, true);
  const RandomStream random(1, 2);
  struct Held {
    std::vector<int32_t> tokens, pages;
  };
  std::vector<Held> held;
  for (uint64_t i = 0; i < 20000; ++i) {
    if (held.size() < 5 && random.bits(3 * i) % 2 == 0) {
      Held next;
      for (uint64_t t = 0; t < random.bits(3 * i + 1) % 9; ++t)
        next.tokens.push_back(static_cast<int32_t>(random.bits(1000000 + 16 * i + t) % 2));
      const PrefixMatch match = cache.match(next.tokens);
      next.pages = match.pages;
      if (match.copy_page >= 0) cache.release(std::span(&match.copy_page, 1));
      bool fits = true;
      while (std::ssize(next.pages) * kRows < std::ssize(next.tokens)) {
        const int32_t page = cache.allocate();
        if (page < 0) {
          fits = false;
          break;
        }
        next.pages.push_back(page);
      }
      if (fits)
        held.push_back(next);
      else
        cache.release(next.pages);
    } else if (!held.empty()) {
      const size_t which = random.bits(3 * i + 2) % held.size();
      cache.keep(held[which].tokens, held[which].pages, true);
      cache.release(held[which].pages);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    }
    std::set<int32_t> used;
    for (const Held& h : held) used.insert(h.pages.begin(), h.pages.end());
    ASSERT_EQ(cache.available(), kPages - std::ssize(used)) << "after " << i;
  }
}

TEST(PageCache, ForgetsEverything) {
  constexpr int64_t kRows = 4;
  PageCache cache(6, kRows, true);
  const auto take = [&](std::vector<int32_t> tokens) {
    std::vector<int32_t> pages;
    for (size_t i = 0; i < tokens.size(); i += static_cast<size_t>(kRows))
      pages.push_back(cache.allocate());
    cache.keep(tokens, pages, true);
    return pages;
  };
  const std::vector<int32_t> whole(static_cast<size_t>(2 * kRows), 1), other(kRows, 2);
  cache.release(take(whole));
  const std::vector<int32_t> used = take(other);
  EXPECT_EQ(cache.kept(), 2);
  cache.forget();
  EXPECT_EQ(cache.kept(), 0);
  EXPECT_EQ(cache.available(), 5);
  EXPECT_TRUE(cache.match(whole).pages.empty());
  EXPECT_TRUE(cache.match(other).pages.empty());
  cache.release(used);  // no longer kept: free
  EXPECT_EQ(cache.kept(), 0);
  EXPECT_EQ(cache.available(), 6);
  std::set<int32_t> all;
  for (int i = 0; i < 6; ++i) all.insert(cache.allocate());
  EXPECT_EQ(all.size(), 6u);
  EXPECT_EQ(cache.allocate(), -1);
}

}  // namespace
}  // namespace um
