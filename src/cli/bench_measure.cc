// See bench_measure.h.
#include "cli/bench_measure.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "kernels/cpu/onednn_matmul.h"
#include "kernels/kernels.h"

namespace um {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

namespace {
constexpr int64_t kSide = 2048;
}

MatmulCeiling::MatmulCeiling(Device& device) : device_(device) {
  const auto count = static_cast<size_t>(kSide * kSide);
  a_.assign(count, 0.5f);
  b_.assign(count, 0.25f);
  c_.assign(count, 0.0f);
  measure(2);
  rates_.clear();
}

void MatmulCeiling::measure(int tries) {
  const Matmul args{.m = kSide,
                    .n = kSide,
                    .k = kSide,
                    .a = {a_.data(), kSide},
                    .b = {b_.data(), kSide},
                    .c = c_.data(),
                    .ldc = kSide};
  Matmul forward = args;
  forward.trans_b = true;
  double best = 1e30;
  for (int i = 0; i < tries; ++i) {
    best = std::min(best, seconds_of([&] { onednn_matmul(args); }));
    best = std::min(best, seconds_of([&] { device_.kernels()->matmul(forward); }));
  }
  rates_.push_back(2.0 * kSide * kSide * kSide / best);
}

double MatmulCeiling::flops_per_s() const {
  return median(rates_);
}

double read_bandwidth(int tries) {
  constexpr int64_t kCount = int64_t{64} << 20;  // of 8 bytes
  std::vector<int64_t> data(static_cast<size_t>(kCount), 1);
  std::vector<double> rates;
  int64_t total = 0;
  for (int i = 0; i <= tries; ++i) {
    const double seconds = seconds_of([&] {
      int64_t sum = 0;
      const int64_t* values = data.data();
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
      for (int64_t j = 0; j < kCount; ++j) sum += values[j];
      total += sum;
    });
    if (i > 0) rates.push_back(8.0 * kCount / seconds);
  }
  // The sum is used, so that the loop is not optimised away.
  return total > 0 ? median(rates) : 0;
}

int64_t peak_resident_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace um
