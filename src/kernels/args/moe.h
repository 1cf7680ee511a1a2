// Arguments of routing, balance statistics, and moving rows between token and expert order.
// kernels.h has the rules and the shape legend.
#pragma once

#include <cstdint>

namespace um {

/// How a router turns logits into choices.
struct RouterRule {
  bool sigmoid = true;       ///< scores: sigmoid, or softmax over all experts
  bool normalize = true;     ///< divide the chosen scores by (their sum + 1e-20)
  float scaling_factor = 1;  ///< multiplies the weights
  int64_t groups = 1;  ///< MoGE: experts are chosen top_k/groups from each of `groups` equal groups
  int64_t limit_groups =
      0;  ///< DeepSeek: choose only within the best `limit_groups` of `groups`; 0: off
};
/// One pass over logits [T,E]: scores, choice (score + bias, ties to the lower id), weights,
/// counts. With limit_groups off and groups > 1 the choice is MoGE's. ids ascend by group, then by
/// falling choice value. With `chosen` there is no choice: those are the ids, as they are, each in
/// [0,E).
struct Router {
  int64_t tokens = 0, experts = 0, top_k = 0;
  RouterRule rule;
  const float* logits = nullptr;
  const float* bias = nullptr;          ///< [E] added for the choice only; may be null
  const float* expert_scale = nullptr;  ///< [E] router_scale, multiplies the weights; may be null
  const int32_t* chosen = nullptr;      ///< [T,K]; may be null
  float* scores = nullptr;              ///< [T,E]
  int32_t* ids = nullptr;               ///< [T,K]
  float* weights = nullptr;             ///< [T,K]
  int64_t* counts = nullptr;            ///< [E] overwritten
};
/// dlogits from the weights' gradient and the balance loss. The balance loss adds, for token t of
/// sequence s(t), Σ_i balance[s(t) * balance_stride + i] * p_i(t), p = scores, divided by their sum
/// when sigmoid.
struct RouterGrad {
  int64_t tokens = 0, experts = 0, top_k = 0;
  RouterRule rule;
  const float* scores = nullptr;
  const int32_t* ids = nullptr;
  const float* expert_scale = nullptr;
  const float* dweights = nullptr;       ///< [T,K]; null is zero
  const float* balance = nullptr;        ///< [E], or one row per sequence; null: no balance loss
  int64_t balance_stride = 0;            ///< 0: the same row for every token
  const int32_t* sequence_of = nullptr;  ///< [T], used when balance_stride != 0
  float* dlogits = nullptr;              ///< [T,E]
  float* dexpert_scale = nullptr;        ///< [E]
  bool accumulate_dexpert_scale = false;
};

/// What a balance loss needs to know: per sequence and expert, the number of assignments and the
/// sum over tokens of the scores (each token's divided by their sum when `normalize`). Overwrites
/// both.
struct BalanceStats {
  int64_t tokens = 0, experts = 0, top_k = 0, sequences = 1;
  bool normalize = false;
  const float* scores = nullptr;         ///< [T,E]
  const int32_t* ids = nullptr;          ///< [T,K]
  const int32_t* sequence_of = nullptr;  ///< [T]; null: everything is sequence 0
  double* score_sums = nullptr;          ///< [sequences,E]
  int64_t* counts = nullptr;             ///< [sequences,E]
};

/// Stable counting sort of the A = T*K assignments by expert.
struct MoePermute {
  int64_t tokens = 0, experts = 0, top_k = 0;
  const int32_t* ids = nullptr;   ///< [T,K]
  int64_t* offsets = nullptr;     ///< [E+1] first slot of each expert
  int32_t* assignment = nullptr;  ///< [A] slot → t*K + k
  int32_t* token = nullptr;       ///< [A] slot → t
  int32_t* slot = nullptr;        ///< [T,K] assignment → slot
};
/// out[t] = (base ? base[t] : 0) + Σ_k weights[t,k] * y[slot[t,k]]; k in order.
struct MoeCombine {
  int64_t tokens = 0, top_k = 0, cols = 0;
  const float* y = nullptr;  ///< [A, cols]
  const int32_t* slot = nullptr;
  const float* weights = nullptr;  ///< [T,K]
  const float* base = nullptr;     ///< [T, cols] (shared experts' output); may be null
  float* out = nullptr;
};
/// dx[t] (+)= Σ_k dslots[slot[t,k]]: gradient of the gather that fed the experts.
struct MoeScatter {
  int64_t tokens = 0, top_k = 0, cols = 0;
  const float* dslots = nullptr;
  const int32_t* slot = nullptr;
  float* dx = nullptr;
  bool accumulate = false;
};

}  // namespace um
