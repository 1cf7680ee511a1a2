// KvSequence: one sequence's part of a forward, and how large a page of the cache is.
#pragma once

#include <cstdint>
#include <span>

namespace um {

/// Rows of a page; attention's key blocks lie within one.
inline constexpr int64_t kPageRows = 64;

/// `rows` new rows behind `past` rows in the cache.
struct KvSequence {
  std::span<const int32_t> pages;  ///< its page table, for past + rows positions at least
  int64_t past = 0, rows = 0;
  bool prompt = false;  ///< rows of a prompt, or generated ones (see KvView)
};

}  // namespace um
