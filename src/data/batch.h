// One step's input, the same for training and evaluation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace um {

/// T tokens of S ragged sequences laid end to end; sequences do not see each other.
struct Batch {
  std::vector<int32_t> tokens;       // [T]
  std::vector<int32_t> targets;      // [T] the next token of the same document, or -1 for none
  std::vector<int32_t> positions;    // [T] from 0 in each sequence
  std::vector<int64_t> seq_offsets;  // [S+1] sequence s is [seq_offsets[s], seq_offsets[s+1])
  /// [T] how much each target counts, of either sign; empty: 1 each
  std::vector<float> weights = {};
  /// [T] the log-probability of each target when a policy sampled it; empty: nobody did
  std::vector<float> sampled_logprobs = {};
  /// [T, L, K] the experts of each token in the first L MoE layers of the model, in the order that
  /// its routers chose them (RequestStats::routed_experts); empty: the routers choose
  std::vector<int16_t> routes = {};

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  int64_t sequences() const { return static_cast<int64_t>(seq_offsets.size()) - 1; }
};

/// Throws Error unless there is a target for each token, and as many weights or none.
void check_sizes(const Batch& batch);

/// Appends a whole sequence: each token's target is the next, the last one has none.
void add_sequence(Batch& batch, std::span<const int32_t> tokens);

/// Inputs of multi-token-prediction head k (from 0): for each row the token k+1 places on in its
/// sequence. The target of a sequence's last row is the token behind it; further on there is 0
/// (such rows have no target, and causal attention keeps them from the others).
std::vector<int32_t> mtp_tokens(const Batch& batch, int64_t k);
/// Targets of head k: the target k+1 rows on in the same sequence, or -1.
std::vector<int32_t> mtp_targets(const Batch& batch, int64_t k);
/// Their weights; empty where the batch has none.
std::vector<float> mtp_weights(const Batch& batch, int64_t k);

/// Sum of the weights of the rows that have a target: their number where there are no weights.
/// [T] both, or no weights.
double total_weight(std::span<const int32_t> targets, std::span<const float> weights);

}  // namespace um
