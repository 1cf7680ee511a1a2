// See decoder_layer.h.
#include "nn/decoder_layer.h"

#include <algorithm>

namespace um {
DecoderLayer::DecoderLayer(ParamStore& store, const std::string& prefix, const ModelConfig& config,
                           std::unique_ptr<AttentionBlock> attention,
                           std::unique_ptr<FeedForwardBlock> feed_forward, int64_t layer,
                           int64_t moe_layer)
    : eps_(static_cast<float>(config.norm_eps)),
      moe_layer_(moe_layer),
      attention_(std::move(attention)),
      feed_forward_(std::move(feed_forward)) {
  const int64_t D = config.hidden;
  input_norm_ = store.vector(prefix + "input_layernorm.weight", D, 1);
  // The same name stands in two places: with a sandwich it is the norm on the attention's output,
  // without one it is the norm before the feed-forward (docs/models.md).
  const std::string shared_name = prefix + "post_attention_layernorm.weight";
  if (config.sandwich_norm) {
    post_attention_norm_ = store.vector(shared_name, D, config.post_attn_gain());
    pre_mlp_norm_ = store.vector(prefix + "pre_mlp_layernorm.weight", D, 1);
    post_mlp_norm_ = store.vector(prefix + "post_mlp_layernorm.weight", D, config.post_mlp_gain());
  } else {
    pre_mlp_norm_ = store.vector(shared_name, D, 1);
  }
  if (layer >= config.layers) return;  // MTP heads have one stream and no block norm
  if (config.streams > 1) {
    const auto connection = [&](const char* name) {
      return std::make_unique<HyperConnection>(store, prefix + name, config, false);
    };
    attention_streams_ = connection("attn_mhc_module.");
    mlp_streams_ = connection("mlp_mhc_module.");
  }
  if (std::ranges::binary_search(config.block_norms, layer))
    block_norm_ = store.vector(prefix + "block_post_layernorm.weight", config.streams * D, 1);
}

Residual DecoderLayer::forward(const Residual& in, const Tensor& next_gain, const Pass& pass,
                               int64_t layer) const {
  const Tensor attended = attention_->forward(in.z, pass, layer);
  const Residual middle =
      residual_norm(in.y, attended, value_of(post_attention_norm_), pre_mlp_norm_->value, eps_);
  const Tensor fed = feed_forward_->forward(middle.z, pass);
  const Tensor post = value_of(post_mlp_norm_);
  if (block_norm_ == nullptr) return residual_norm(middle.y, fed, post, next_gain, eps_);
  const Tensor left = residual_norm(middle.y, fed, post, block_norm_->value, eps_).z;
  return {left, rmsnorm(left, next_gain, eps_)};
}

Tensor DecoderLayer::forward_streams(const Tensor& streams, const Pass& pass, int64_t layer) const {
  const auto post_normed = [&](const Tensor& x, const Param* gain) {
    return gain != nullptr ? rmsnorm(x, gain->value, eps_) : x;
  };
  const HyperConnection::Mixed attended = attention_streams_->before(streams);
  const Tensor a = attention_->forward(rmsnorm(attended.x, input_norm_->value, eps_), pass, layer);
  const Tensor middle =
      attention_streams_->after(streams, post_normed(a, post_attention_norm_), attended);
  const HyperConnection::Mixed fed = mlp_streams_->before(middle);
  const Tensor m = feed_forward_->forward(rmsnorm(fed.x, pre_mlp_norm_->value, eps_), pass);
  const Tensor left = mlp_streams_->after(middle, post_normed(m, post_mlp_norm_), fed);
  return post_normed(left, block_norm_);
}

}  // namespace um
