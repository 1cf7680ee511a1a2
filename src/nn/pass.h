// Pass: what every layer needs to know about the present forward, beside its input.
#pragma once

#include "nn/balance.h"
#include "nn/kv_pool.h"
#include "nn/route_table.h"
#include "ops/ragged.h"

namespace um {

struct Pass {
  const Ragged& rows;
  Tensor rope = {};                ///< [positions, rope channels] of ops/rope.h
  const KvView* cache = nullptr;   ///< serving: read and extended; null: the batch is all there is
  BalanceLoss* balance = nullptr;  ///< training: gathers routing statistics; may be null
  std::shared_ptr<BalanceTerm> balance_term = {};  ///< of the present layer, when `balance` is set
  std::vector<Tensor>* expert_ids = nullptr;  ///< gathers the choice of every MoE layer, [T, K]
  ConvPlan convs = {};                        ///< if the model has convolutions
  bool check_routers = false;                 ///< NaN in a router is an error
  const RouteTable* routes = nullptr;         ///< in place of the routers' choice; may be null
  Tensor chosen = {};                         ///< its experts in the present layer
};

}  // namespace um
