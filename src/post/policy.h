// Policy gradients: the losses of GRPO and its relatives as weights of the sampled tokens.
//
// The gradient of each of them is Σ_t w_t ∇ log π(t) with a weight that depends on the advantage
// and on the ratio of the present policy to the one that sampled. Where they are the same, the
// ratio is 1 and no second forward is needed; else a first pass without gradients gives it.
#pragma once

#include <memory>
#include <string>

#include "train/objective.h"

namespace um {

struct PolicyOptions {
  /// - grpo: the mean over answers of the mean over their tokens (Shao et al. 2024, eq. 3);
  /// - dapo: the mean over all tokens of the step (Yu et al. 2025);
  /// - dr_grpo: the sum over tokens by answers × `max_tokens` (Liu et al. 2025);
  /// - gspo: ratios of whole answers, the geometric mean of their tokens' (Zheng et al. 2025).
  std::string loss = "dapo";
  double clip_low = 0.2, clip_high = 0.28;  ///< ratios outside [1 - low, 1 + high] teach no more
  int64_t max_tokens = 256;
};

/// What a step has seen of its policy.
struct PolicyStep {
  double clipped = 0;     ///< share of tokens whose ratio (gspo: their answer's) was clipped
  double gap = 0;         ///< largest difference of a log-probability to the sampler's
  double divergence = 0;  ///< mean of ratio - 1 - log ratio, against the sampler (k3)
  double tokens = 0;      ///< sampled ones
};

/// Batches have an advantage in each row's weight, and sampled_logprobs. Those of one step are of
/// one sampling; `fresh`: of the policy as it is.
class PolicyObjective : public Objective {
 public:
  explicit PolicyObjective(const PolicyOptions& options) : options_(options) {}
  StepLosses run(const Model& model, std::span<const Batch> batches,
                 const StepOptions& options) const override;

  /// The next step's batches were sampled from the present weights.
  void set_fresh(bool fresh) { fresh_ = fresh; }
  const PolicyStep& last() const { return last_; }

 private:
  PolicyOptions options_;
  bool fresh_ = true;
  mutable PolicyStep last_;
};

/// The weights w_t [T] of a batch whose targets have the log-probabilities `now` [T], so that
/// Σ w_t log π(t) / denominator has the loss' gradient; adds to `step` what was seen. Each sequence
/// is one answer.
std::vector<float> policy_weights(const PolicyOptions& options, const Batch& batch,
                                  std::span<const float> now, PolicyStep& step);
/// What such sums are divided by: of all batches of a step together.
double policy_denominator(const PolicyOptions& options, std::span<const Batch> batches);

}  // namespace um
