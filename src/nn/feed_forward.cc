// See feed_forward.h.
#include "nn/feed_forward.h"

#include <cmath>

#include "core/error.h"
#include "nn/expert_cache.h"
#include "ops/mlp.h"

namespace um {

Mlp::Mlp(ParamStore& store, const std::string& prefix, int64_t hidden, int64_t width, double std) {
  gate_up_ = store.stacked(prefix + "gate_up_proj.weight", {2 * width, hidden},
                           {{prefix + "gate_proj.weight", 0, {width, hidden}},
                            {prefix + "up_proj.weight", width, {width, hidden}}},
                           {0, std});
  down_ = store.matrix(prefix + "down_proj.weight", hidden, width, std);
}

Tensor Mlp::forward(const LinearInput& z, const Pass&) const {
  return swiglu_mlp(z, gate_up_->weight(), down_->weight());
}

Moe::Moe(ParamStore& store, const std::string& prefix, const ModelConfig& config, int64_t moe_layer,
         const LayerNames& names)
    : config_(config.moe),
      rule_{.sigmoid = config.moe.score == RouterScore::sigmoid,
            .normalize = config.moe.norm_topk,
            .scaling_factor = static_cast<float>(config.moe.scaling),
            .groups = config.moe.groups,
            .limit_groups = config.moe.limit_groups},
      moe_layer_(moe_layer) {
  const int64_t E = config_.experts, D = config.hidden;
  const double std = config.weight_init_std();
  router_ = store.add(prefix + "gate.weight", {E, D}, {0, std}, true);
  if (config_.router_bias) bias_ = store.buffer(prefix + names.router_bias, E);
  if (config_.router_scale)
    expert_scale_ =
        store.stacked(prefix + "router_scale", {E}, {{prefix + "router_scale", 0, {1, E}}}, {1, 0});
  if (expert_scale_ != nullptr) expert_scale_->decay = false;
  if (store.expert_cache() != nullptr)
    cached_ = store.expert_cache()->add_layer(prefix + "experts.", E);
  else
    add_experts(store, prefix, D, std);
  if (config_.shared_width > 0)
    shared_ = std::make_unique<Mlp>(store, prefix + names.shared, D, config_.shared_width, std);
}

void Moe::add_experts(ParamStore& store, const std::string& prefix, int64_t D, double std) {
  const int64_t E = config_.experts, F = config_.expert_width;
  std::vector<Piece> gate_up, down;
  for (int64_t e = 0; e < E; ++e) {
    const std::string expert = fmt::format("{}experts.{}.", prefix, e);
    gate_up.push_back({expert + "gate_proj.weight", 2 * e * F, {F, D}});
    gate_up.push_back({expert + "up_proj.weight", (2 * e + 1) * F, {F, D}});
    down.push_back({expert + "down_proj.weight", e * D, {D, F}});
  }
  gate_up_ =
      store.stacked(prefix + "experts.gate_up_proj", {E, 2 * F, D}, std::move(gate_up), {0, std});
  down_ = store.stacked(prefix + "experts.down_proj", {E, D, F}, std::move(down), {0, std});
}

void Moe::check_finite(const Routing& routing) const {
  const auto check = [](const Tensor& values, const Param& param, const char* what) {
    if (!values) return;
    for (const float value : values.to_vector())
      UM_CHECK(std::isfinite(value),
               "{}: {} is {}; the weights are damaged or the training has diverged", param.name,
               what, value);
  };
  check(routing.scores, *router_, "a score of the router");
  check(routing.weights, *router_, "an expert's weight by the router");
  if (bias_ != nullptr) check(bias_->value, *bias_, "a bias of the router");
}

Tensor Moe::forward(const LinearInput& z, const Pass& pass) const {
  const Routing routing =
      route(linear_f32(z, router_->value), value_of(bias_), value_of(expert_scale_), rule_,
            config_.top_k, pass.rows, pass.balance_term, pass.chosen);
  if (pass.check_routers) check_finite(routing);
  if (pass.balance)
    pass.balance->observe(moe_layer_, routing, pass.rows, rule_.sigmoid, pass.balance_term);
  if (pass.expert_ids != nullptr) pass.expert_ids->push_back(routing.ids);
  const Tensor base = shared_ ? shared_->forward(z, pass) : Tensor();
  if (cached_ != nullptr) return moe_experts(z, routing, *cached_, base);
  return moe_experts(z, routing, gate_up_->weight(), down_->weight(), base);
}

}  // namespace um
