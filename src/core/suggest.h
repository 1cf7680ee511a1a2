// "did you mean": the known name nearest to one that was mistyped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace um {

/// The candidate with the fewest insertions, deletions and substitutions away from `name`, the
/// first of equals; empty if there are no candidates.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace um
