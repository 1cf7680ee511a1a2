// `eval --tasks`: a model is asked questions, and its answers are checked.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/sampling_flags.h"

namespace um {

struct TaskFlags {
  std::string tasks, report, out, cache_dtype = "auto";
  std::vector<std::string> modes;
  SamplingFlags sampling;
  int64_t samples = 1, limit = 0;
  bool strict = false;

  void add_to(CLI::App* command);
  bool given() const { return !tasks.empty(); }
  /// Throws UsageError for options that go with --tasks alone, where that is not given.
  void check() const;
};

struct TaskRun {
  const WeightFlags& weights;
  std::string model;
  int64_t max_tokens = 0;  ///< 0: 512
  bool json = false;
};

/// Asks, checks, prints the table and writes the files that were asked for.
void eval_tasks(const TaskRun& run, const TaskFlags& flags, Device& device);

}  // namespace um
