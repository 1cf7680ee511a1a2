// See batch.h.
#include "data/batch.h"

#include <algorithm>

#include "core/error.h"

namespace um {
namespace {

/// The value `ahead` rows further on in the same sequence, or `none`.
template <class T>
std::vector<T> shifted(const Batch& batch, const std::vector<T>& values, int64_t ahead, T none) {
  std::vector<T> out(values.size(), none);
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const int64_t end = batch.seq_offsets[static_cast<size_t>(s) + 1];
    for (int64_t t = batch.seq_offsets[static_cast<size_t>(s)]; t + ahead < end; ++t)
      out[static_cast<size_t>(t)] = values[static_cast<size_t>(t + ahead)];
  }
  return out;
}

}  // namespace

void check_sizes(const Batch& batch) {
  UM_CHECK(batch.targets.size() == batch.tokens.size(), "a batch of {} tokens has {} targets",
           batch.tokens.size(), batch.targets.size());
  UM_CHECK(batch.weights.empty() || batch.weights.size() == batch.tokens.size(),
           "a batch of {} tokens has {} weights of targets", batch.tokens.size(),
           batch.weights.size());
}

void add_sequence(Batch& batch, std::span<const int32_t> tokens) {
  if (batch.seq_offsets.empty()) batch.seq_offsets.push_back(0);
  for (size_t t = 0; t < tokens.size(); ++t) {
    batch.tokens.push_back(tokens[t]);
    batch.targets.push_back(t + 1 < tokens.size() ? tokens[t + 1] : -1);
    batch.positions.push_back(static_cast<int32_t>(t));
  }
  batch.seq_offsets.push_back(batch.size());
}

std::vector<int32_t> mtp_tokens(const Batch& batch, int64_t k) {
  std::vector<int32_t> tokens = shifted(batch, batch.tokens, k + 1, 0);
  for (size_t s = 1; s < batch.seq_offsets.size(); ++s) {
    const int64_t end = batch.seq_offsets[s], row = end - 1 - k;
    if (row < batch.seq_offsets[s - 1]) continue;
    tokens[static_cast<size_t>(row)] = std::max(batch.targets[static_cast<size_t>(end) - 1], 0);
  }
  return tokens;
}

std::vector<int32_t> mtp_targets(const Batch& batch, int64_t k) {
  return shifted(batch, batch.targets, k + 1, -1);
}

std::vector<float> mtp_weights(const Batch& batch, int64_t k) {
  if (batch.weights.empty()) return {};
  return shifted(batch, batch.weights, k + 1, 0.0f);
}

double total_weight(std::span<const int32_t> targets, std::span<const float> weights) {
  double total = 0;
  for (size_t t = 0; t < targets.size(); ++t)
    if (targets[t] >= 0) total += weights.empty() ? 1.0 : static_cast<double>(weights[t]);
  return total;
}

}  // namespace um
