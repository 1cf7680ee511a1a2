// The attention blocks: multi-head latent attention (MLA) and grouped-query attention (GQA).
#pragma once

#include <memory>
#include <string>

#include "nn/config.h"
#include "nn/key_indexer.h"
#include "nn/layer_names.h"
#include "nn/module.h"
#include "nn/pass.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace um {

/// z [T, D] (normed) → the block's output [T, D], before any post norm.
class AttentionBlock {
 public:
  virtual ~AttentionBlock() = default;
  virtual Tensor forward(const Tensor& z, const Pass& pass, int64_t layer) const = 0;
  /// Writes the layer's sinks, if it has any, to rows `slots` (i32) of its cache.
  virtual void write_sinks(const LayerCache&, const Tensor& /*slots*/) const {}
};

/// MLA (DeepSeek-V2, arXiv 2405.04434): queries from a latent of q_lora_rank, keys and values from
/// one of kv_lora_rank, and a rotary key shared by all heads. Training and prompts expand the
/// latents (naive form); generated rows multiply the up-projections into query and output and
/// attend over the cached latents themselves (absorbed form).
/// openPangu-2.0 (docs/openpangu2.md) adds what a config may ask for: causal convolutions on both
/// latents and on the heads' outputs, sinks (latents that every token sees), and in each layer a
/// window or an indexer that says which keys are seen.
class Mla : public AttentionBlock {
 public:
  /// `layer`: its place among the trunk's layers and the MTP heads.
  Mla(ParamStore& store, const std::string& prefix, const ModelConfig& config, int64_t layer);
  Tensor forward(const Tensor& z, const Pass& pass, int64_t layer) const override;
  void write_sinks(const LayerCache& cache, const Tensor& slots) const override;

 private:
  /// Where a convolution's channels begin in the cache.
  enum class Site { query, latent, output };
  /// The normed query latent [T, q_lora_rank], or z where there is none.
  LinearInput query_latent(const LinearInput& z, const Pass& pass, int64_t layer) const;
  Tensor queries(const LinearInput& query_latent, const Pass& pass) const;
  /// x, or x + conv(x) where the model has convolutions.
  Tensor convolved(const Tensor& x, Site site, const Pass& pass, int64_t layer) const;
  Tensor key_mask(const LinearInput& z, const LinearInput& query_latent, const Pass& pass,
                  int64_t layer) const;
  /// The heads' outputs [T, H*v_dim].
  Tensor attend(const Tensor& q, const Tensor& kv_a, const Pass& pass, const Tensor& mask) const;
  Tensor attend_cached(const Tensor& q, const Tensor& kv_a, const Pass& pass, const Tensor& mask,
                       int64_t layer) const;
  /// The sinks' normed latents, [sinks*rank] values.
  Tensor sink_latents() const;
  /// q [T, H*qk_dim] over latents [S, rank+rope], contiguous by kv_offsets → [T, H*v_dim].
  Tensor naive(const Tensor& q, const Tensor& latents, const Ragged& rows,
               const Tensor& mask) const;
  /// The same over latents in a pool, into `out`.
  void absorbed(const Tensor& q, const Rows& latents, const Ragged& rows, const PageTable& pages,
                const Tensor& mask, const Tensor& out) const;

  const AttentionConfig config_;
  float scale_;
  int64_t window_;
  Param *q_ = nullptr, *q_a_ = nullptr, *q_norm_ = nullptr, *q_b_ = nullptr;
  Param *kv_a_, *kv_norm_, *kv_b_, *o_;
  Param *q_conv_ = nullptr, *kv_conv_ = nullptr, *o_conv_ = nullptr;
  Param *sink_latent_ = nullptr, *sink_rope_ = nullptr;
  std::unique_ptr<KeyIndexer> indexer_;
};

/// GQA (Ainslie et al. 2023) with optional biases, norms on each query and key head before they are
/// rotated (Qwen3), and sinks: learned keys and values before those of each sequence, which every
/// token sees (openPangu-R-72B). The rows of a pass then are those of Ragged::with_sinks.
class Gqa : public AttentionBlock {
 public:
  Gqa(ParamStore& store, const std::string& prefix, const ModelConfig& config,
      const LayerNames& names = {});
  Tensor forward(const Tensor& z, const Pass& pass, int64_t layer) const override;
  void write_sinks(const LayerCache& cache, const Tensor& slots) const override;

 private:
  struct Heads {
    Tensor q, k, v;
  };
  /// The projections, before norms and positions.
  Heads project(const LinearInput& z) const;
  /// Without a cache: sinks, if any, before each sequence's keys and values.
  Tensor attend(const Heads& heads, const Pass& pass) const;
  /// Queries or keys [T, count*dim], normed if there is a gain, with their positions.
  Tensor rotated(const Tensor& heads, const Param* norm, int64_t count, const Pass& pass) const;

  const AttentionConfig config_;
  float eps_, scale_;
  Param *qkv_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *o_;
  Param *q_norm_ = nullptr, *k_norm_ = nullptr;
  Param *sink_key_ = nullptr, *sink_value_ = nullptr;
  Tensor sink_zeros_;  ///< in place of sink_value_
  Param *q_bias_ = nullptr, *k_bias_ = nullptr, *v_bias_ = nullptr, *o_bias_ = nullptr;
};

}  // namespace um
