// See suggest.h.
#include "core/suggest.h"

#include <algorithm>
#include <numeric>

namespace um {
namespace {

/// Levenshtein distance, one row at a time.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string_view start = name.substr(0, 100);  // a hostile name must not cost much
  std::string best;
  size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const size_t found = distance(start, candidate);
    if (best.empty() || found < best_distance) best = candidate, best_distance = found;
  }
  return best;
}

}  // namespace um
