// Balance statistics: counts and score sums per sequence and expert. Tiny beside the matmuls, so
// scalar in every backend; token order is fixed, so the bits are too.
#include <cstring>

#include "kernels/kernels.h"

namespace um::ref {

void balance_stats(const BalanceStats& args) {
  const int64_t experts = args.experts;
  std::memset(args.score_sums, 0, sizeof(double) * static_cast<size_t>(args.sequences * experts));
  std::memset(args.counts, 0, sizeof(int64_t) * static_cast<size_t>(args.sequences * experts));
  for (int64_t t = 0; t < args.tokens; ++t) {
    const int64_t sequence = args.sequence_of == nullptr ? 0 : args.sequence_of[t];
    const float* scores = args.scores + t * experts;
    double* sums = args.score_sums + sequence * experts;
    int64_t* counts = args.counts + sequence * experts;
    double total = 0;
    for (int64_t i = 0; i < experts; ++i) total += static_cast<double>(scores[i]);
    const double scale = args.normalize ? 1.0 / (total + 1e-20) : 1.0;
    for (int64_t i = 0; i < experts; ++i) sums[i] += static_cast<double>(scores[i]) * scale;
    for (int64_t k = 0; k < args.top_k; ++k) ++counts[args.ids[t * args.top_k + k]];
  }
}

}  // namespace um::ref
