// What the bench commands share: their options, and the two that run a model without training it.
#pragma once

#include <string>

#include "core/device.h"

namespace um {

struct BenchOptions {
  std::string model = "bench-d256", dtype = "auto", cache_dtype = "auto", precision = "f32";
  int64_t batch = 8, seq_len = 256, steps = 10, warmup = 3;
  int64_t depth = 0, tokens = 32;
  bool json = false, profile = false, recompute = false, speculative = false;
  std::string text;
};

/// Decode of `batch` streams, one token a step, beside the memory's read rate.
void bench_decode(const BenchOptions& options, Device& device);
/// One prompt of `tokens` tokens beside the f32 matmul's rate.
void bench_prefill(const BenchOptions& options, Device& device);

/// One row per kernel of `steps` metered steps: time, share, and the time that its FLOPs or bytes
/// need at least.
void print_profile(const Meter& meter, double steps, double ceiling, double bandwidth);

}  // namespace um
