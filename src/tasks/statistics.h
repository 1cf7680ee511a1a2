// What an evaluation comes to: shares of right answers with intervals, by task, level and mode.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace um {

struct Interval {
  double low = 0, high = 1;
};

/// Wilson's score interval (1927) for a share of `n` independent problems, at 95%. Where each has
/// several samples, n is still the number of problems and the share the mean over all samples: the
/// samples of a problem are not independent, and their mean varies at most as one sample does, so
/// the interval is never too small. [0, 1] for n = 0.
Interval wilson_interval(double share, int64_t n);

/// The chance that one of k samples is right where c of n were: 1 − C(n−c, k) / C(n, k), unbiased
/// (Chen et al. 2021). Of k <= n.
double pass_at_k(int64_t n, int64_t c, int64_t k);

/// What became of one problem in one mode.
struct ProblemResult {
  std::string task = {};
  int level = 0;  ///< 0: the task has none
  std::string mode = {};
  int64_t samples = 0, right = 0;
  int64_t tokens = 0;  ///< of all samples
  int64_t cut = 0;     ///< samples that a limit of length ended
};

struct ResultRow {
  std::string task = {};  ///< "all": over the tasks
  int level = 0;          ///< 0: over the levels
  std::string mode = {};
  int64_t problems = 0, samples = 0;  ///< samples: of each problem
  double exact = 0;                   ///< mean share of right samples: pass@1
  Interval interval = {};
  std::vector<int64_t> k = {};    ///< 1, 2, 4, … up to the samples, and those
  std::vector<double> pass = {};  ///< pass@k of each
  double tokens = 0;              ///< mean length of a sample
  double cut = 0;                 ///< share of samples that were cut
};

/// A row per task, level and mode, one per task and mode where it has several levels, and one per
/// mode over all tasks; in the order in which tasks and modes come, levels rising.
std::vector<ResultRow> summarise(std::span<const ProblemResult> results);

}  // namespace um
