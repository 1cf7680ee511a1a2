// See statistics.h.
#include "tasks/statistics.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace um {
namespace {

constexpr double kZ = 1.959963984540054;  // of the normal distribution's middle 95%

std::vector<int64_t> ks_up_to(int64_t samples) {
  std::vector<int64_t> ks;
  for (int64_t k = 1; k < samples; k *= 2) ks.push_back(k);
  ks.push_back(samples);
  return ks;
}

using Results = std::vector<const ProblemResult*>;

ResultRow make_row(const std::string& task, int level, const std::string& mode,
                   const Results& results) {
  ResultRow row{.task = task, .level = level, .mode = mode, .problems = std::ssize(results)};
  row.samples = results[0]->samples;
  for (const ProblemResult* one : results) row.samples = std::min(row.samples, one->samples);
  row.k = ks_up_to(row.samples);
  row.pass.assign(row.k.size(), 0);
  const auto n = static_cast<double>(row.problems);
  double samples = 0;
  for (const ProblemResult* one : results) {
    row.exact += static_cast<double>(one->right) / static_cast<double>(one->samples) / n;
    for (size_t i = 0; i < row.k.size(); ++i)
      row.pass[i] += pass_at_k(one->samples, one->right, row.k[i]) / n;
    row.tokens += static_cast<double>(one->tokens);
    row.cut += static_cast<double>(one->cut);
    samples += static_cast<double>(one->samples);
  }
  row.tokens /= samples;
  row.cut /= samples;
  row.interval = wilson_interval(row.exact, row.problems);
  return row;
}

/// The different values of a field, in their order.
template <class Field>
std::vector<std::string> names_of(std::span<const ProblemResult> results, Field field) {
  std::vector<std::string> names;
  std::set<std::string> known;
  for (const ProblemResult& one : results)
    if (known.insert(field(one)).second) names.push_back(field(one));
  return names;
}

}  // namespace

Interval wilson_interval(double share, int64_t problems) {
  if (problems <= 0) return {};
  const auto n = static_cast<double>(problems);
  const double scale = 1 + kZ * kZ / n, middle = (share + kZ * kZ / (2 * n)) / scale;
  const double half = kZ / scale * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

double pass_at_k(int64_t n, int64_t c, int64_t k) {
  if (n - c < k) return 1;
  double none = 1;  // C(n−c, k) / C(n, k), factor by factor
  for (int64_t i = n - c + 1; i <= n; ++i)
    none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

std::vector<ResultRow> summarise(std::span<const ProblemResult> results) {
  const auto tasks = names_of(results, [](const ProblemResult& one) { return one.task; });
  const auto modes = names_of(results, [](const ProblemResult& one) { return one.mode; });
  std::vector<ResultRow> rows;
  const auto add = [&](const std::string& task, int level, const std::string& mode,
                       const auto& wanted) {
    Results chosen;
    for (const ProblemResult& one : results)
      if (one.mode == mode && one.samples > 0 && wanted(one)) chosen.push_back(&one);
    if (!chosen.empty()) rows.push_back(make_row(task, level, mode, chosen));
  };
  for (const std::string& task : tasks) {
    std::set<int> levels;
    for (const ProblemResult& one : results)
      if (one.task == task) levels.insert(one.level);
    for (const int level : levels)
      for (const std::string& mode : modes)
        add(task, level, mode,
            [&](const ProblemResult& one) { return one.task == task && one.level == level; });
    if (levels.size() < 2) continue;
    for (const std::string& mode : modes)
      add(task, 0, mode, [&](const ProblemResult& one) { return one.task == task; });
  }
  if (tasks.size() > 1)
    for (const std::string& mode : modes)
      add("all", 0, mode, [](const ProblemResult&) { return true; });
  return rows;
}

}  // namespace um
