// ModelConfig: one resolved description of a model of any family; models/config.h reads and writes
// it. docs/models.md has the fields.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace um {

/// One per architecture file of models/ (models/architecture.h has their published names).
enum class Family {
  ultra_moe,
  pro_moe,
  embedded,
  llama,
  qwen2,
  qwen3,
  qwen3_moe,
  deepseek_v2,
  deepseek_v3,
  pro_moe_v2,
  openpangu_v2,
};
enum class RouterScore { sigmoid, softmax };
/// tiny: N(0, 1/(2 d L)) for matrices (TinyInit); normal: N(0, initializer_range^2).
enum class InitRule { tiny, normal };

/// The q- and kv-latent norms use this eps whatever `norm_eps` says, as the released code does.
inline constexpr double kLatentNormEps = 1e-6;

/// How rotary frequencies change to reach further than a model was trained (nn/rotary.h).
enum class RopeKind { plain, linear, llama3, yarn };

struct RopeScaling {
  RopeKind kind = RopeKind::plain;
  double factor = 1;
  int64_t original_positions = 0;  // llama3, yarn: the context it was trained with
  double low_freq = 1;             // llama3: wavelengths above original/low_freq are stretched,
  double high_freq = 4;            // those below original/high_freq are kept
  double beta_fast = 32;           // yarn: turns within the original context above which a
  double beta_slow = 1;            // channel is kept, and below which it is stretched
  bool truncate = true;            // yarn: that range of channels is rounded outwards
  double mscale = 0;               // yarn as DeepSeek has it; 0: not given
  double mscale_all_dim = 0;       // also scales the scores; 0: not given
  double attention_factor = 0;     // yarn: factor on cosines and sines; 0: from the others

  bool operator==(const RopeScaling&) const = default;
};

/// Multi-head latent attention, or grouped-query attention where `kv_lora_rank` is 0.
struct AttentionConfig {
  int64_t heads = 0;
  int64_t kv_heads = 0;      // GQA: divides heads; MLA: equals heads
  int64_t qk_nope_dim = 0;   // channels of a query or key head without positions
  int64_t qk_rope_dim = 0;   // those with rotary positions
  int64_t v_dim = 0;         // value channels of a head
  int64_t q_lora_rank = 0;   // MLA: query latent, 0 = queries straight from the hidden state
  int64_t kv_lora_rank = 0;  // MLA: key and value latent
  bool qkv_bias = false;
  bool o_bias = false;
  double rope_theta = 10000.0;
  bool rope_interleave = false;  // rotary pairs (x0,x1),(x2,x3)...; else halves (x0,xd/2)...
  RopeScaling rope_scaling;
  bool q_norm = false;      // GQA: RMSNorm on each query head before the rotation
  bool k_norm = false;      // the same on each key head
  bool rope_first = false;  // GQA: the rotary channels of a head come first, not last
  bool fused_qkv = false;   // GQA: q, k and v are stored as one matrix
  int64_t sinks = 0;  // learned keys (MLA: latents) that every token sees, normed, not rotated
  bool sink_values = false;  // GQA: they have learned values, too; else zeros

  // MLA of openPangu-2.0. Layers are counted through the trunk and the MTP heads.
  int64_t conv_taps = 0;         // causal convolutions of so many rows on the latents and on the
                                 // heads' outputs; 0: none
  std::vector<int64_t> windows;  // of each layer: keys that a token sees, itself among them; 0:
                                 // all. Empty: 0 everywhere
  std::vector<int64_t> index_layers;  // ascending: those where an indexer chooses the keys
  int64_t index_heads = 0, index_dim = 0, index_top_k = 0;

  int64_t window(int64_t layer) const {
    return windows.empty() ? 0 : windows.at(static_cast<size_t>(layer));
  }
  /// Channels whose inputs the convolutions of one layer keep.
  int64_t conv_width() const {
    return conv_taps > 0 ? q_lora_rank + kv_lora_rank + heads * v_dim : 0;
  }
  bool is_indexed(int64_t layer) const { return std::ranges::binary_search(index_layers, layer); }
  bool is_mla() const { return kv_lora_rank > 0; }
  int64_t qk_dim() const { return qk_nope_dim + qk_rope_dim; }

  bool operator==(const AttentionConfig&) const = default;
};

/// The mixture-of-experts feed-forward; `experts` is 0 in dense models.
struct MoeConfig {
  int64_t experts = 0;       // routed experts
  int64_t top_k = 0;         // experts per token
  int64_t groups = 1;        // MoGE: top_k/groups experts from each group of experts/groups
  int64_t limit_groups = 0;  // DeepSeek: only from the best so many groups; 0: MoGE or no groups
  int64_t expert_width = 0;  // intermediate channels of one routed expert
  int64_t shared_width = 0;  // intermediate channels of all shared experts together, 0 = none
  int64_t shared_experts = 0;
  double scaling = 1.0;    // factor on the routed weights
  bool norm_topk = false;  // divide the chosen scores by their sum
  RouterScore score = RouterScore::softmax;
  bool router_bias = false;   // e_score_correction_bias: for the choice only
  bool router_scale = false;  // learned factor per expert on the weights (Pro MoE)

  bool operator==(const MoeConfig&) const = default;
};

struct ModelConfig {
  Family family = Family::llama;
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t layers = 0;        // trunk, without MTP layers
  int64_t dense_layers = 0;  // leading layers with a dense feed-forward; all in dense models
  int64_t dense_width = 0;   // intermediate channels of the dense feed-forward
  int64_t mtp_layers = 0;    // multi-token-prediction heads
  int64_t max_positions = 0;
  double norm_eps = 1e-5;
  bool tie_embeddings = false;
  bool sandwich_norm = false;  // norms on the outputs of attention and feed-forward, too
  double c_attn = 0.283;       // DSSN: initial gain of those norms is c / sqrt(layers)
  double c_mlp = 0.432;
  int64_t streams = 1;               // residual streams (ops/streams.h)
  int64_t sinkhorn_steps = 0;        // that make their mixture doubly stochastic
  bool stream_gain = true;           // a gain in the norm before their weights
  std::vector<int64_t> block_norms;  // ascending: trunk layers with a norm on what they leave
  InitRule init = InitRule::normal;
  double initializer_range = 0.02;   // std of InitRule::normal
  double embedding_init_std = 0.02;  // std of the embedding
  int64_t bos = -1;                  // token ids, -1 = none
  int64_t pad = -1;
  std::vector<int64_t> eos;  // any of these ends a generation
  DType dtype = DType::f32;  // of the weights in the checkpoint: f32, bf16 or f16
  AttentionConfig attention;
  MoeConfig moe;

  bool is_moe_layer(int64_t layer) const { return layer >= dense_layers; }
  /// Standard deviation of weight matrices at initialisation (TinyInit; docs/dssn.md).
  double weight_init_std() const;
  /// Initial gains of the post norms with depth-scaled sandwich norm (docs/dssn.md).
  double post_attn_gain() const;
  double post_mlp_gain() const;

  bool operator==(const ModelConfig&) const = default;
};

}  // namespace um
