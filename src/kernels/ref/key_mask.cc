// Which keys a query attends to: a window, or the best by DeepSeek's lightning indexer
// (DeepSeek-V3.2; docs/openpangu2.md), reference.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/kernels.h"

namespace um::ref {
namespace {

/// Score of a query (row of q) for a key (row of keys).
double score(const KeyMask& a, int64_t query, int64_t key) {
  double sum = 0;
  for (int64_t h = 0; h < a.heads; ++h) {
    double dot = 0;
    for (int64_t c = 0; c < a.dim; ++c) {
      dot += static_cast<double>(a.q[query * a.ldq + h * a.dim + c]) * a.keys[key * a.ld_keys + c];
    }
    sum += a.weights[query * a.ld_weights + h] * std::fmax(dot * a.scale, 0.0);
  }
  return sum;
}

/// Own keys 0..count-1 of a query: its sequence's, up to itself.
std::vector<int64_t> chosen(const KeyMask& a, int64_t sequence, int64_t query, int64_t count) {
  std::vector<int64_t> keys(static_cast<size_t>(count));
  std::iota(keys.begin(), keys.end(), 0);
  if (a.window > 0) {
    keys.erase(keys.begin(), keys.begin() + std::max<int64_t>(count - a.window, 0));
    return keys;
  }
  if (count <= a.top_k) return keys;
  std::vector<double> scores;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t key = a.sinks + i;
    const int64_t row =
        a.pages == nullptr
            ? a.q_offsets[sequence] + i
            : a.pages[sequence * a.ld_pages + key / a.page_rows] * a.page_rows + key % a.page_rows;
    scores.push_back(score(a, query, row));
  }
  std::stable_sort(keys.begin(), keys.end(), [&](int64_t i, int64_t j) {
    return scores[static_cast<size_t>(i)] > scores[static_cast<size_t>(j)];
  });
  keys.resize(static_cast<size_t>(a.top_k));
  return keys;
}

void set_bit(int64_t* mask, int64_t key) {
  mask[key / 64] =
      static_cast<int64_t>(static_cast<uint64_t>(mask[key / 64]) | uint64_t{1} << (key % 64));
}

}  // namespace

void key_mask(const KeyMask& a) {
  for (int64_t s = 0; s < a.sequences; ++s) {
    const int64_t queries = a.q_offsets[s + 1] - a.q_offsets[s];
    const int64_t own = a.kv_offsets[s + 1] - a.kv_offsets[s] - a.sinks;
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t query = a.q_offsets[s] + i;
      int64_t* mask = a.mask + query * a.ld_mask;
      std::fill(mask, mask + a.ld_mask, 0);
      for (int64_t sink = 0; sink < a.sinks; ++sink) set_bit(mask, sink);
      for (const int64_t key : chosen(a, s, query, own - queries + i + 1)) {
        set_bit(mask, a.sinks + key);
      }
    }
  }
}

}  // namespace um::ref
