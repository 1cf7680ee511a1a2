// The options of `generate` and `chat` that say how tokens are chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/generator.h"

namespace um {

struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p, typical_p;
  std::optional<double> repetition_penalty, presence_penalty, frequency_penalty, loop_penalty;
  std::vector<std::string> logit_bias;  // ID:BIAS
  std::optional<int64_t> top_k;
  std::optional<uint64_t> seed;

  void add_to(CLI::App* command);
  /// Whether any of them was given.
  bool given() const;
  /// What was given, else what the checkpoint asks for, else temperature 0.8 and top-p 0.95.
  SamplingOptions resolve(const std::optional<SamplingOptions>& defaults) const;
  /// What was given, else a new one every time.
  uint64_t resolve_seed() const;
};

}  // namespace um
