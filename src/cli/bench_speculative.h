// `bench decode --speculative`: plain decoding, the engine's speculative decoding and a naive
// speculative loop, side by side.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/device.h"
#include "nn/module.h"

namespace um {

struct SpeculativeBenchOptions {
  std::string model;
  std::string text;            ///< file with a prompt in each line; empty: random tokens
  int64_t prompts = 8;         ///< at most
  int64_t prompt_tokens = 32;  ///< of each, at most
  int64_t tokens = 128;
  int64_t drafts = -1;                 ///< per step; -1: as many as there are MTP heads
  std::optional<WeightTypes> weights;  ///< as for load_model
  int64_t rounds = 5;                  ///< over all prompts; the figures are medians
  bool json = false;
};

/// Prints tokens per second, acceptance, and the time per step outside model forwards. Throws Error
/// for a model without MTP heads, and if the three ways do not give the same tokens.
void bench_speculative(const SpeculativeBenchOptions& options, Device& device);

}  // namespace um
