// See suggest.h.
#include "core/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace um {
namespace {

constexpr size_t kLongestName = 100;  // a hostile name must not cost much
constexpr size_t kNever = 1000;

/// Edit distance with swaps of neighbours (optimal string alignment), three rows at a time.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

std::string_view without_dashes(std::string_view name) {
  return name.substr(std::min(name.find_first_not_of('-'), name.size()));
}

std::string_view last_part(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

/// The distance if it is so small that one is meant by the other, else kNever.
size_t near_distance(std::string_view name, std::string_view candidate) {
  const size_t limit = std::clamp<size_t>(name.size() / 3, 1, 3);
  const size_t found = distance(name, candidate);
  return found <= limit ? found : kNever;
}

}  // namespace

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string_view typed = without_dashes(name.substr(0, kLongestName));
  std::string best;
  size_t best_distance = kNever;
  for (const std::string& candidate : candidates) {
    const std::string_view known = without_dashes(candidate);
    const size_t found =
        std::min(near_distance(typed, known), near_distance(last_part(typed), last_part(known)));
    if (found < best_distance) best = candidate, best_distance = found;
  }
  return best;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates,
                         std::string_view quote) {
  const std::string meant = nearest(name, candidates);
  return meant.empty() ? "" : fmt::format("; did you mean {0}{1}{0}?", quote, meant);
}

}  // namespace um
