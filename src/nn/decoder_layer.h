// One decoder layer: attention and feed-forward on one residual stream or several, with pre-norms
// or a sandwich.
#pragma once

#include <memory>
#include <string>

#include "nn/attention.h"
#include "nn/feed_forward.h"
#include "nn/hyper_connection.h"
#include "ops/norm.h"

namespace um {

/// Sandwich (Pangu Ultra; DSSN when the post gains start at c/√L):
///   a = x + post_attention(attn(input(x)));  y = a + post_mlp(ffn(pre_mlp(a)))
/// Pre-norm: the same without the post norms. The stream travels with its norm (ops/norm.h), so the
/// layer is handed the gain of whatever follows it.
/// Several streams (hyper-connections) take the place of the sums: each sub-layer reads a mixture
/// of them, and its output is mixed back in. Some layers norm what they leave (block norms).
class DecoderLayer {
 public:
  /// `layer`: its place among the trunk's layers and the MTP heads.
  DecoderLayer(ParamStore& store, const std::string& prefix, const ModelConfig& config,
               std::unique_ptr<AttentionBlock> attention,
               std::unique_ptr<FeedForwardBlock> feed_forward, int64_t layer, int64_t moe_layer);

  /// in.y: the stream [T, D], in.z: its norm by input_gain(). Returns the stream after the layer
  /// and its norm by `next_gain`. `layer` is this layer's place in the cache.
  Residual forward(const Residual& in, const Tensor& next_gain, const Pass& pass,
                   int64_t layer) const;
  /// The streams [T, S*D] after the layer.
  Tensor forward_streams(const Tensor& streams, const Pass& pass, int64_t layer) const;

  const Tensor& input_gain() const { return input_norm_->value; }
  /// Number among the MoE layers, -1 for a dense one.
  int64_t moe_layer() const { return moe_layer_; }
  const FeedForwardBlock& feed_forward() const { return *feed_forward_; }
  const AttentionBlock& attention() const { return *attention_; }

 private:
  float eps_;
  int64_t moe_layer_;
  std::unique_ptr<AttentionBlock> attention_;
  std::unique_ptr<FeedForwardBlock> feed_forward_;
  Param *input_norm_, *pre_mlp_norm_;
  Param *post_attention_norm_ = nullptr, *post_mlp_norm_ = nullptr, *block_norm_ = nullptr;
  std::unique_ptr<HyperConnection> attention_streams_, mlp_streams_;
};

}  // namespace um
