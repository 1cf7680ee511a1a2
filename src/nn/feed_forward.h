// The feed-forward blocks: dense SwiGLU and the dropless mixture of experts with shared experts.
#pragma once

#include <string>

#include "nn/config.h"
#include "nn/layer_names.h"
#include "nn/module.h"
#include "nn/pass.h"
#include "ops/expert_slots.h"
#include "ops/linear.h"
#include "ops/moe.h"

namespace um {

/// z [T, D] (normed) → the block's output [T, D], before any post norm.
class FeedForwardBlock {
 public:
  virtual ~FeedForwardBlock() = default;
  virtual Tensor forward(const LinearInput& z, const Pass& pass) const = 0;
};

/// gate, up and down projections; gate and up are one parameter, stored apart.
class Mlp : public FeedForwardBlock {
 public:
  Mlp(ParamStore& store, const std::string& prefix, int64_t hidden, int64_t width, double std);
  Tensor forward(const LinearInput& z, const Pass& pass) const override;

 private:
  Param *gate_up_, *down_;
};

/// Router, routed experts (stacked in two parameters, stored per expert) and shared experts, which
/// are one SwiGLU of their joint width.
class Moe : public FeedForwardBlock {
 public:
  /// `moe_layer`: this layer's number among the MoE layers, for load statistics.
  Moe(ParamStore& store, const std::string& prefix, const ModelConfig& config, int64_t moe_layer,
      const LayerNames& names = {});
  Tensor forward(const LinearInput& z, const Pass& pass) const override;

  Param* router_bias() const { return bias_; }

 private:
  void add_experts(ParamStore& store, const std::string& prefix, int64_t hidden, double std);
  void check_finite(const Routing& routing) const;

  const MoeConfig config_;
  RouterRule rule_;
  int64_t moe_layer_;
  Param *router_, *gate_up_ = nullptr, *down_ = nullptr;
  ExpertSlots* cached_ = nullptr;  // in place of gate_up_ and down_
  Param *bias_ = nullptr, *expert_scale_ = nullptr;
  std::unique_ptr<Mlp> shared_;
};

}  // namespace um
