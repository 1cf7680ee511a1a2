// The dropless mixture of experts: one fused router, a stable sort by expert, grouped expert
// matmuls.
#pragma once

#include <memory>

#include "core/tensor.h"
#include "kernels/args.h"
#include "ops/expert_slots.h"
#include "ops/linear.h"
#include "ops/ragged.h"

namespace um {

/// What the balance loss adds to a router's gradient: coefficient_i · p_i(t) summed over tokens.
/// The router's node reads it when its gradient runs, so a scope larger than one forward (an
/// expert-parallel group, an accumulation step) can fill it after the forward.
struct BalanceTerm {
  Tensor coefficients;  ///< f32 [E], or [sequences, E]; undefined: no balance loss
  bool per_sequence = false;
  bool wanted = false;    ///< the layer takes part in the loss
  bool observed = false;  ///< its statistics are counted (a recomputed forward is not a second one)
  Device* device = nullptr;  ///< where the router runs
};

/// A router's result for T tokens, K experts each.
struct Routing {
  Tensor ids;         ///< i32 [T, K]
  Tensor weights;     ///< f32 [T, K], differentiable
  Tensor scores;      ///< f32 [T, E]
  Tensor counts;      ///< i64 [E] assignments per expert
  Tensor offsets;     ///< i64 [E+1] first slot of each expert
  Tensor assignment;  ///< i32 [T*K] slot → t*K + k
  Tensor token;       ///< i32 [T*K] slot → t
  Tensor slot;        ///< i32 [T, K] assignment → slot
};

/// Scores, choice, weights and permutation from logits [T, E]. `bias` [E] and `expert_scale` [E]
/// may be undefined; `balance` may be null. `chosen` i32 [T, K]: the experts, in place of the
/// choice; their scores and weights are the router's as ever. Kept differentiable through the
/// weights and the balance term. Throws Error for `chosen` of another shape.
Routing route(const Tensor& logits, const Tensor& bias, const Tensor& expert_scale,
              const RouterRule& rule, int64_t top_k, const Ragged& rows,
              std::shared_ptr<BalanceTerm> balance, const Tensor& chosen = {});

/// Σ_k weight_k · expert_k(x) + base: x [T, D], gate_up [E, 2F, D], down [E, D, F], base [T, D]
/// (the shared experts' output) or undefined → [T, D]. Every assignment is computed (dropless).
Tensor moe_experts(const LinearInput& x, const Routing& routing, const Rows& gate_up,
                   const Rows& down, const Tensor& base);
/// The same, bit by bit, with experts of which only some are in memory. No gradient.
Tensor moe_experts(const LinearInput& x, const Routing& routing, ExpertSlots& experts,
                   const Tensor& base);

}  // namespace um
