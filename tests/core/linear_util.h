// Tests that time is linear in the input: twice the input takes less than three times as long.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <limits>

namespace um {

/// Seconds of processor time that this thread has used; what else runs does not count.
inline double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Runs `work` on what `make` gives for a size and for twice the size, and expects the least time
/// of several runs to grow less than threefold. Quadratic work, which grows fourfold, fails each
/// attempt; one that succeeds is enough, so that a busy machine fails no test.
template <class Make, class Work>
void expect_linear(size_t size, Make make, Work work) {
  const auto once = make(size), twice = make(2 * size);
  double ratio = 0, shorter = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    double least[2] = {std::numeric_limits<double>::max(), std::numeric_limits<double>::max()};
    for (int run = 0; run < 3; ++run) {
      for (const int which : {0, 1}) {
        const double start = processor_seconds();
        work(which == 0 ? once : twice);
        least[which] = std::min(least[which], processor_seconds() - start);
      }
    }
    ratio = least[1] / least[0];
    shorter = least[0];
    if (ratio < 3) return;
  }
  ADD_FAILURE() << "twice the input takes " << ratio << " times as long (" << shorter
                << " s for the shorter one), expected less than 3";
}

}  // namespace um
