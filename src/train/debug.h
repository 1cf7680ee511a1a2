// What anyone needs to check us against another implementation: all logits, and all gradients, of a
// ragged batch of token ids. The definitions are in docs/debug.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/model.h"

namespace um {

using Sequences = std::vector<std::vector<int32_t>>;

/// Reads a JSON list of lists of token ids, each within [0, vocab). Throws Error naming the entry.
Sequences read_sequences(const std::filesystem::path& path, int64_t vocab);

/// Writes `logits.{i}` [T_i, vocab] and per MTP head k = 1… `mtp.{k}.logits.{i}` [T_i − k, vocab],
/// f32, of one ragged batch. Heads have no rows for sequences of length ≤ k.
void write_debug_logits(const Model& model, const Sequences& sequences,
                        const std::filesystem::path& path);

/// Writes `loss.total`, `loss.lm`, `loss.mtp`, `loss.balance` (rank 0) and `grad.NAME` for every
/// tensor of the checkpoint. total = lm + mtp_weight·mtp + balance_weight·balance, each a mean over
/// its targets; balance is the mean over the trunk's MoE layers of Σ f_i p_i over the whole batch.
void write_debug_grads(Model& model, const Sequences& sequences, double mtp_weight,
                       double balance_weight, const std::filesystem::path& path);

}  // namespace um
