// "did you mean": the known name that a mistyped one probably stands for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace um {

/// The candidate that `name` probably means: at most a third of its characters (1 to 3) inserted,
/// deleted, replaced or swapped. Names in groups ("--train.steps") are also compared by their last
/// part alone, so "--steps" finds it. Of equally near ones the first; empty if none is near.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

/// "; did you mean X?", X between two `quote`s; empty if nothing is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates,
                         std::string_view quote = "");

}  // namespace um
