// Choosing one of several forms for each of many things, within a budget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace um {

struct Choice {
  int64_t cost;  ///< >= 0
  double loss;
};

/// One choice for each item, by index: those whose losses have the least sum among all whose costs
/// fit the budget. Exact (dynamic programming over costs; Kellerer, Pferschy, Pisinger 2004,
/// chapter 11), as long as what is left of the budget over the cheapest choices has at most 2^17
/// steps of the costs' greatest common divisor; else costs are rounded up to steps of 2^-17 of it.
/// Throws Error where not even the cheapest choices fit.
std::vector<size_t> choose_within(const std::vector<std::vector<Choice>>& items, int64_t budget);

}  // namespace um
