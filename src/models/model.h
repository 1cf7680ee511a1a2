// Model: a decoder-only language model assembled by one of the architecture files, with its
// multi-token-prediction heads. The same code trains, prefills and decodes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/decoder_layer.h"
#include "nn/expert_cache.h"

namespace um {

/// One multi-token-prediction head (DeepSeek-V3, arXiv 2412.19437; docs/mtp.md): from
/// the state at t and the embedding of token t+k it predicts token t+k+1.
struct MtpHead {
  Param *embed_norm, *hidden_norm, *projection, *output_norm;
  std::unique_ptr<DecoderLayer> layer;
};

/// What is handed from layer to layer of the trunk.
struct TrunkState {
  Residual stream;  ///< of one stream: it and its norm
  Tensor streams;   ///< of several: [T, S*D]
};

/// What a forward leaves behind, one row per token.
struct TrunkOutput {
  Tensor hidden;  ///< [T, D] after the final norm: the head's input
};
struct MtpOutput {
  Tensor state;   ///< [T, D] the layer's output before its norm: the next head's input
  Tensor hidden;  ///< [T, D] after shared_head.norm: the (shared) output head's input
};

struct ForwardOptions {
  const KvView* cache = nullptr;  ///< serving: where the past is read and new rows are written
  BalanceLoss* balance = nullptr;
  bool recompute = false;                     ///< keep only layer inputs for the backward pass
  std::vector<Tensor>* states = nullptr;      ///< collects the residual stream after every layer
  std::vector<Tensor>* expert_ids = nullptr;  ///< collects i32 [T, K] of every MoE layer
  const RouteTable* routes = nullptr;         ///< which experts run; null: the routers choose
  /// Throws Error that names the layer where a router makes NaN or Inf: an expert with such a score
  /// is never chosen, and nothing else shows it.
  bool check_routers = false;
};

class Model {
 public:
  /// With `experts` the routed experts are no parameters: the cache has them.
  Model(ModelConfig config, Device& device, WeightTypes weights = {},
        std::unique_ptr<ExpertCache> experts = nullptr, ParamMemory memory = ParamMemory::all);

  const ModelConfig& config() const { return config_; }
  /// Changes the base of the rotary positions (a long-context phase); checkpoints then carry it.
  void set_rope_theta(double theta) { config_.attention.rope_theta = theta; }
  ParamStore& params() { return params_; }
  const ParamStore& params() const { return params_; }
  Device& device() const { return params_.device(); }

  /// Token ids i32 [T] in the layout `rows` → the trunk's output. With a cache, `rows` is
  /// Ragged::batch of the same sequences as the view; throws Error otherwise.
  TrunkOutput trunk(const Tensor& tokens, const Ragged& rows, const ForwardOptions& options) const;
  /// The same in parts, without a cache, for who runs one layer at a time: what enters the first
  /// layer, what leaves a layer, and the output.
  TrunkState enter(const Tensor& tokens) const;
  TrunkState run_trunk_layer(int64_t layer, const TrunkState& state, const Ragged& rows) const;
  TrunkOutput leave(const TrunkState& state) const;
  /// Logits [T, V] of any rows of an output's `hidden`.
  Tensor logits(const Tensor& hidden) const;
  /// Head k (from 0): `state` is the trunk's hidden for k = 0, else head k-1's state; `tokens` i32
  /// [T] holds for each row the token k+1 places later. With a cache the head reads and writes
  /// its own layer of it: it must have seen all rows before these.
  MtpOutput mtp(int64_t k, const Tensor& state, const Tensor& tokens, const Ragged& rows,
                const ForwardOptions& options) const;

  /// The output head [V, D] (the embedding when tied).
  Rows head() const { return head_->weight(); }
  int64_t trunk_layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t mtp_heads() const { return static_cast<int64_t>(mtp_.size()); }
  /// MoE layers of the trunk, and of the trunk with its MTP heads.
  int64_t trunk_moe_layers() const { return trunk_moe_layers_; }
  int64_t moe_layers() const { return moe_layers_; }
  /// Router biases by MoE layer (null entries where there is none).
  const std::vector<Param*>& router_biases() const { return router_biases_; }

  /// What a cache is kept in where nothing else is asked for: bf16, or f32 where the weights are.
  DType default_cache_type() const;
  /// A cache of `pages` pages for the trunk and its MTP heads, in f32, bf16 or i8.
  KvPool make_pool(int64_t pages, DType dtype = DType::f32) const;
  /// Writes what a pool holds of the weights themselves: the keys and values of attention sinks.
  /// make_pool() does; again after the weights have changed.
  void write_sinks(KvPool& pool) const;

  /// For the architecture files: appends the trunk's layers and the MTP heads behind them, as the
  /// config has them, called model.layers.N.
  void add_layers(const LayerNames& names = {});

 private:
  void add_mtp(int64_t layer, const LayerNames& names);
  /// Layer `layer` of the trunk, or the MTP head behind it.
  std::unique_ptr<DecoderLayer> make_layer(int64_t layer, bool moe, const LayerNames& names);
  Residual run_layer(const DecoderLayer& layer, const Residual& in, const Tensor& next_gain,
                     Pass pass, int64_t index, bool recompute_layer) const;
  /// The same for several streams.
  Tensor run_streams(const DecoderLayer& layer, const Tensor& streams, Pass pass, int64_t index,
                     bool recompute_layer) const;
  Pass pass_for(const Ragged& rows, const Ragged& seen, const ForwardOptions& options) const;
  TrunkState after_layer(int64_t layer, const TrunkState& state, const Pass& pass,
                         bool recompute_layer) const;
  Tensor rope_for(const Ragged& rows) const;
  /// The rows as attention sees them: the same, or in `with` behind the model's sinks.
  const Ragged& with_sinks(const Ragged& rows, Ragged& with) const;

  ModelConfig config_;
  ParamStore params_;
  Param *embed_, *head_, *final_norm_;
  std::vector<std::unique_ptr<DecoderLayer>> layers_;
  std::unique_ptr<HyperConnection> merge_;  ///< of several streams, at the end of the trunk
  std::vector<MtpHead> mtp_;
  std::vector<Param*> router_biases_;
  int64_t trunk_moe_layers_ = 0, moe_layers_ = 0;
  mutable Tensor rope_table_;
  mutable double rope_theta_ = 0;
};

/// Builds a model of the config's family with unset weights. On a dry device nothing is allocated.
/// `weights`: f32, or bf16 for a model that only runs. `experts`: see Model.
std::unique_ptr<Model> make_model(const ModelConfig& config, Device& device,
                                  WeightTypes weights = {},
                                  std::unique_ptr<ExpertCache> experts = nullptr,
                                  ParamMemory memory = ParamMemory::all);

}  // namespace um
