// See hyper_connection.h.
#include "nn/hyper_connection.h"

#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/streams.h"

namespace um {

HyperConnection::HyperConnection(ParamStore& store, const std::string& prefix,
                                 const ModelConfig& config, bool merge)
    : streams_(config.streams),
      steps_(merge ? 0 : config.sinkhorn_steps),
      eps_(static_cast<float>(config.norm_eps)) {
  const int64_t S = streams_, width = S * config.hidden, out = merge ? S : S * (S + 2);
  const char* suffix = merge ? "_pre" : "";
  phi_ = store.matrix(prefix + "phi.weight", out, width, config.weight_init_std());
  // All zero but for a small alpha: at first the streams are alike, and the layer an ordinary one.
  alpha_ = store.vector(prefix + "branch_alpha" + suffix, merge ? 1 : 3, 0.01);
  beta_ = store.vector(prefix + "branch_beta" + suffix, out, 0);
  if (config.stream_gain) {
    gain_ = store.vector(prefix + "norm_gamma", width, 1);
  } else {
    const std::vector<float> ones(static_cast<size_t>(width), 1.0f);
    ones_ = Tensor::from(store.device(), {width}, std::span<const float>(ones));
  }
}

HyperConnection::Mixed HyperConnection::before(const Tensor& streams) const {
  const Tensor normed = rmsnorm(streams, gain_ != nullptr ? gain_->value : ones_, eps_);
  const Tensor u = linear_f32(normed, phi_->weight());
  if (steps_ == 0)
    return {mix_streams(streams, {}, merge_weights(u, alpha_->value, beta_->value), streams_), {}};
  const StreamWeights weights = stream_weights(u, alpha_->value, beta_->value, streams_, steps_);
  return {mix_streams(streams, {}, weights.pre, streams_), weights.post};
}

Tensor HyperConnection::after(const Tensor& streams, const Tensor& y, const Mixed& mixed) const {
  return mix_streams(streams, y, mixed.post, streams_);
}

}  // namespace um
