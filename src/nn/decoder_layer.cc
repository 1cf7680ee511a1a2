// See decoder_layer.h.
#include "nn/decoder_layer.h"

namespace um {
DecoderLayer::DecoderLayer(ParamStore& store, const std::string& prefix, const ModelConfig& config,
                           std::unique_ptr<AttentionBlock> attention,
                           std::unique_ptr<FeedForwardBlock> feed_forward, int64_t moe_layer)
    : eps_(static_cast<float>(config.norm_eps)),
      moe_layer_(moe_layer),
      attention_(std::move(attention)),
      feed_forward_(std::move(feed_forward)) {
  const int64_t D = config.hidden;
  input_norm_ = store.vector(prefix + "input_layernorm.weight", D, 1);
  // The same name stands in two places: with a sandwich it is the norm on the attention's output,
  // without one it is the norm before the feed-forward (interop.md 1.5).
  const std::string shared_name = prefix + "post_attention_layernorm.weight";
  if (config.sandwich_norm) {
    post_attention_norm_ = store.vector(shared_name, D, config.post_attn_gain());
    pre_mlp_norm_ = store.vector(prefix + "pre_mlp_layernorm.weight", D, 1);
    post_mlp_norm_ = store.vector(prefix + "post_mlp_layernorm.weight", D, config.post_mlp_gain());
  } else {
    pre_mlp_norm_ = store.vector(shared_name, D, 1);
  }
}

Residual DecoderLayer::forward(const Residual& in, const Tensor& next_gain, const Pass& pass,
                               int64_t layer) const {
  const Tensor attended = attention_->forward(in.z, pass, layer);
  const Residual middle =
      residual_norm(in.y, attended, value_of(post_attention_norm_), pre_mlp_norm_->value, eps_);
  const Tensor fed = feed_forward_->forward(middle.z, pass);
  return residual_norm(middle.y, fed, value_of(post_mlp_norm_), next_gain, eps_);
}

}  // namespace um
