// What the machine can do, measured beside what we do: the f32 matmul ceiling and the memory's read
// rate.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/device.h"
#include "core/stats.h"

namespace um {

/// Seconds of one call.
double seconds_of(const std::function<void()>& work);

/// A large square matmul (2048³), the best of oneDNN's and our own in `tries` runs each: FLOP/s.
class MatmulCeiling {
 public:
  explicit MatmulCeiling(Device& device);
  /// One more measurement; call it now and then during a benchmark, the machine's speed drifts.
  void measure(int tries = 3);
  double flops_per_s() const;  ///< median over measurements

 private:
  Device& device_;
  std::vector<float> a_, b_, c_;
  std::vector<double> rates_;
};

/// Reading 512 MB with all threads, median of `tries`: bytes/s.
double read_bandwidth(int tries = 7);

/// Most memory this process has had resident, in bytes.
int64_t peak_resident_bytes();

}  // namespace um
