// Expert balance: the auxiliary loss over a chosen scope, or the loss-free bias update.
//
// loss = Σ_i f_i p_i, f_i = N/(K|B|) Σ_{t in B} [t uses i] (no gradient), p_i = mean over B of i's
// score (divided by the token's sum of scores when they are sigmoids). The scope chooses B: one
// sequence (DeepSeek-V3), one micro-batch, all micro-batches that an expert-parallel group routes
// together (Pangu Ultra MoE, arXiv 2505.04519: single micro-batches may stay unbalanced and so
// specialise), or everything. On one rank ep_group and global both span the accumulation step.
// `bias` uses no loss: after each step the router's choice bias moves by ±rate against the load
// (Wang et al. 2024, DeepSeek-V3).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "ops/moe.h"

namespace um {

enum class BalanceScope { none, sequence, micro_batch, ep_group, global, bias };

/// "sequence", "micro_batch", …; throws UsageError listing them.
BalanceScope balance_scope_from_name(std::string_view name);

/// What one MoE layer did in the present step.
struct LayerLoad {
  std::vector<int64_t> counts;  ///< [E] assignments
  double loss = 0;              ///< Σ f_i p_i over the scope (weighted mean over several scopes)
};

/// Gathers routing statistics of every MoE layer over a step and fills the routers' balance terms.
class BalanceLoss {
 public:
  /// `layers`: MoE layers that observe; the first `loss_layers` of them share the loss equally.
  BalanceLoss(BalanceScope scope, double alpha, int64_t layers, int64_t loss_layers);

  /// Starts a step of `tokens` tokens over all its micro-batches.
  void begin_step(int64_t tokens);
  /// A term for the router of MoE layer `layer`, to be handed to route(); filled by
  /// observe()/finish().
  std::shared_ptr<BalanceTerm> term(int64_t layer);
  /// Takes a routing's statistics. `normalize`: scores are sigmoids.
  void observe(int64_t layer, const Routing& routing, const Ragged& rows, bool normalize,
               const std::shared_ptr<BalanceTerm>& term);
  /// After the last forward of the step and before the first backward of a scope wider than a
  /// micro-batch.
  void finish();

  /// Whether the backward pass must wait for all forwards of the step.
  bool spans_step() const {
    return scope_ == BalanceScope::ep_group || scope_ == BalanceScope::global;
  }
  BalanceScope scope() const { return scope_; }
  const std::vector<LayerLoad>& loads() const { return loads_; }
  /// Mean over the loss layers of Σ f_i p_i, before alpha.
  double value() const;

 private:
  void add_scope(int64_t layer, const int64_t* counts, const double* score_sums, int64_t tokens,
                 int64_t top_k, float* coefficients);

  BalanceScope scope_;
  double alpha_;
  int64_t loss_layers_;
  int64_t step_tokens_ = 0;
  std::vector<LayerLoad> loads_;
  struct Pending {
    int64_t tokens = 0, top_k = 0;
    std::vector<double> score_sums;
    std::vector<std::shared_ptr<BalanceTerm>> terms;
  };
  std::vector<Pending> pending_;
};

/// bias_i += rate · sign(mean load − load_i).
void update_router_bias(const Tensor& bias, const std::vector<int64_t>& counts, double rate);

}  // namespace um
