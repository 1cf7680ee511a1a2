// The training objective of a step: next-token loss, MTP losses, z-loss and expert balance over one
// or more micro-batches, as exact means over the whole step.
#pragma once

#include <span>
#include <vector>

#include "data/batch.h"
#include "models/model.h"

namespace um {

struct ObjectiveOptions {
  double mtp_weight = 0;   ///< of the mean over MTP heads of each head's mean cross-entropy
  double z_weight = 0;     ///< of the mean squared log-sum-exp of the logits
  bool recompute = false;  ///< activation recomputation
  BalanceLoss* balance = nullptr;
  bool activation_rms = false;  ///< measure the residual stream after each layer
};

/// Means over the step, in nats per token.
struct StepLosses {
  double lm = 0;
  std::vector<double> mtp;  ///< per head
  double z = 0;             ///< before its weight
  double balance = 0;       ///< before its weight
  double accuracy = 0;      ///< share of targets that are the argmax
  std::vector<double> activation_rms;

  /// Mean over the MTP heads.
  double mtp_mean() const;
};

/// Runs a step: `forward(i)` for every micro-batch, then finish(). With gradients, each micro-batch
/// is recorded and its backward pass runs at once, or after the last forward when the balance scope
/// spans the step. The result for N micro-batches is that of one batch with all their sequences,
/// but for rounding.
class StepObjective {
 public:
  StepObjective(const Model& model, std::span<const Batch> micro_batches,
                const ObjectiveOptions& options);

  /// Loss and gradients (into the parameters' slots) of the whole step.
  StepLosses run_with_gradients();
  /// Loss alone.
  StepLosses run();

 private:
  void forward(const Batch& batch);
  void add_loss(const Tensor& hidden, const std::vector<int32_t>& targets, double weight,
                int64_t count, double z_weight, double* loss, bool trunk);
  StepLosses finish();

  const Model& model_;
  std::span<const Batch> batches_;
  ObjectiveOptions options_;
  int64_t targets_ = 0;               ///< next-token targets in the step
  std::vector<int64_t> mtp_targets_;  ///< per head
  StepLosses losses_;
};

/// Targets of MTP head k (from 0) for a batch: the token k+2 places on in the same sequence, or -1.
std::vector<int32_t> mtp_targets(const Batch& batch, int64_t k);
/// Input tokens of MTP head k (from 0): the token k+1 places on, or 0 where there is none (such
/// rows have no target, and causal attention keeps them from the others).
std::vector<int32_t> mtp_tokens(const Batch& batch, int64_t k);

}  // namespace um
