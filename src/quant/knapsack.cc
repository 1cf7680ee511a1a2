// See knapsack.h.
#include "quant/knapsack.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace um {
namespace {

constexpr int64_t kSteps = int64_t{1} << 17;
constexpr size_t kMostChoices = 256;

int64_t cheapest(const std::vector<Choice>& choices) {
  return std::ranges::min(choices, {}, &Choice::cost).cost;
}

/// How much a step of the table is, for costs over the cheapest choices that may have `room`.
int64_t step_of(const std::vector<std::vector<Choice>>& items, int64_t room) {
  int64_t step = 0;
  for (const std::vector<Choice>& item : items)
    for (const Choice& choice : item) step = std::gcd(step, choice.cost - cheapest(item));
  return std::max({step, (room + kSteps - 1) / kSteps, int64_t{1}});
}

}  // namespace

std::vector<size_t> choose_within(const std::vector<std::vector<Choice>>& items, int64_t budget) {
  int64_t least = 0, most = 0;
  for (const std::vector<Choice>& item : items) {
    UM_CHECK(!item.empty() && item.size() <= kMostChoices, "an item with {} choices", item.size());
    least += cheapest(item);
    most += std::ranges::max(item, {}, &Choice::cost).cost;
  }
  UM_CHECK(least <= budget, "the cheapest choices cost {}, the budget is {}", least, budget);
  const int64_t room = std::min(budget, most) - least, step = step_of(items, room);
  const auto width = static_cast<size_t>(room / step) + 1;
  // losses[r]: of the items so far, with r steps to spend; taken[i][r]: item i's choice there.
  std::vector<double> losses(width, 0.0), next(width);
  std::vector<std::vector<uint8_t>> taken(items.size(), std::vector<uint8_t>(width));
  for (size_t i = 0; i < items.size(); ++i) {
    std::ranges::fill(next, std::numeric_limits<double>::infinity());
    for (size_t c = 0; c < items[i].size(); ++c) {
      const int64_t over = items[i][c].cost - cheapest(items[i]);
      for (auto r = static_cast<size_t>((over + step - 1) / step); r < width; ++r) {
        const double loss =
            losses[r - static_cast<size_t>((over + step - 1) / step)] + items[i][c].loss;
        if (!(loss < next[r])) continue;
        next[r] = loss;
        taken[i][r] = static_cast<uint8_t>(c);
      }
    }
    losses.swap(next);
  }
  std::vector<size_t> choices(items.size());
  size_t left = width - 1;
  for (size_t i = items.size(); i-- > 0;) {
    choices[i] = taken[i][left];
    const int64_t over = items[i][choices[i]].cost - cheapest(items[i]);
    left -= static_cast<size_t>((over + step - 1) / step);
  }
  return choices;
}

}  // namespace um
