// What a training step learns from: the losses of its micro-batches, with or without gradients.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "data/batch.h"
#include "models/model.h"

namespace um {

/// Means over the step, in nats per token.
struct StepLosses {
  double lm = 0;
  std::vector<double> mtp = {};  ///< per head
  double z = 0;                  ///< before its weight
  double balance = 0;            ///< before its weight
  double accuracy = 0;           ///< share of targets that are the argmax
  std::vector<double> activation_rms = {};

  /// Mean over the MTP heads.
  double mtp_mean() const;
};

/// What the means of a step are taken over: the sum of it over all ranks, and whatever else shares
/// their gradients.
struct StepTotals {
  int64_t tokens = 0;
  double targets = 0;                    ///< weight of the next-token targets (total_weight)
  std::vector<double> mtp_targets = {};  ///< the same per MTP head
};

/// Of some batches, for `heads` MTP heads.
StepTotals step_totals(std::span<const Batch> batches, int64_t heads);

/// How a step is run, whatever it learns from.
struct StepOptions {
  bool gradients = false;  ///< into the parameters' slots, which the caller has reset
  bool recompute = false;  ///< activation recomputation
  BalanceLoss* balance = nullptr;
  bool activation_rms = false;  ///< measure the residual stream after each layer
  /// Told of each batch's next-token losses, a value per row, 0 without a target.
  std::function<void(size_t batch, const std::vector<float>& nats)> on_losses = {};
  const StepTotals* totals = nullptr;  ///< null: those of the batches that are given
};

class Objective {
 public:
  virtual ~Objective() = default;

  /// The losses of a step's micro-batches and, with gradients, those of the whole step. The result
  /// for N micro-batches is that of one batch with all their sequences, but for rounding.
  virtual StepLosses run(const Model& model, std::span<const Batch> batches,
                         const StepOptions& options) const = 0;
};

/// Calls `forward` for every micro-batch, which computes its losses; they seed themselves. With
/// gradients each is recorded and its backward pass runs at once, or after the last forward when
/// the balance scope spans the step. `tokens`: of the step.
void run_micro_batches(std::span<const Batch> batches, const StepOptions& options, int64_t tokens,
                       const std::function<void(const Batch&)>& forward);

struct NextTokenOptions {
  double mtp_weight = 0;  ///< of the mean over MTP heads of each head's mean cross-entropy
  double z_weight = 0;    ///< of the mean squared log-sum-exp of the logits
};

/// Cross-entropy of the next token, as means by the targets' weights; MTP heads, z-loss. With
/// weights below 0 (of a policy gradient) it needs totals from outside: throws Error without.
class NextTokenObjective : public Objective {
 public:
  explicit NextTokenObjective(const NextTokenOptions& options) : options_(options) {}
  StepLosses run(const Model& model, std::span<const Batch> batches,
                 const StepOptions& options) const override;

 private:
  NextTokenOptions options_;
};

}  // namespace um
