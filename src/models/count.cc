// See count.h.
#include "models/count.h"

#include <cmath>

#include "core/error.h"
#include "ops/rows.h"

namespace um {
namespace {

// Products of values within the limits of validate() stay far below 2^127, so sums are exact and
// only the result has to be checked.
using Wide = __int128;
constexpr int64_t kMaxParameters = int64_t{1} << 53;

int64_t checked(Wide value) {
  UM_CHECK(value <= kMaxParameters, "model size: more than 2^53 parameters in one part");
  return static_cast<int64_t>(value);
}

/// Weights of the projections alone; they are what FLOPs count.
Wide attention_matrices(const ModelConfig& c) {
  const AttentionConfig& a = c.attention;
  const Wide d = c.hidden;
  const Wide out = d * a.heads * a.v_dim;
  if (!a.is_mla()) return d * a.heads * a.qk_dim() + d * a.kv_heads * (a.qk_dim() + a.v_dim) + out;
  const Wide query = Wide{a.heads} * a.qk_dim();
  const Wide q = a.q_lora_rank > 0 ? a.q_lora_rank * (d + query) : d * query;
  const Wide kv = d * (a.kv_lora_rank + a.qk_rope_dim) +
                  Wide{a.kv_lora_rank} * a.heads * (a.qk_nope_dim + a.v_dim);
  return q + kv + out;
}

/// What openPangu-2.0's MLA has beside its matrices; layer: in the trunk or an MTP head.
Wide mla_extras(const ModelConfig& c, int64_t layer) {
  const AttentionConfig& a = c.attention;
  const Wide sinks = Wide{a.sinks} * (a.kv_lora_rank + a.qk_rope_dim);
  const Wide indexer = Wide{a.index_heads} * (Wide{a.index_dim} * a.q_lora_rank + c.hidden) +
                       Wide{a.index_dim} * (c.hidden + 1);
  return sinks + Wide{a.conv_taps} * a.conv_width() + (a.is_indexed(layer) ? indexer : 0);
}

Wide mla_extras_of(const ModelConfig& c, int64_t begin, int64_t end) {
  Wide sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += mla_extras(c, i);
  return c.attention.is_mla() ? sum : 0;
}

/// Hyper-connections: two in each layer of the trunk, and the one that merges the streams.
Wide streams_all(const ModelConfig& c) {
  if (c.streams == 1) return 0;
  const Wide S = c.streams, width = S * c.hidden, gain = c.stream_gain ? width : 0;
  const Wide both = S * (S + 2), one = both * (width + 1) + 3 + gain;
  return 2 * c.layers * one + S * (width + 1) + 1 + gain;
}

Wide attention_all(const ModelConfig& c) {
  const AttentionConfig& a = c.attention;
  const Wide latent_norms = a.is_mla() ? a.q_lora_rank + a.kv_lora_rank : 0;
  const Wide qkv = Wide{a.heads} * a.qk_dim() + Wide{a.kv_heads} * (a.qk_dim() + a.v_dim);
  const Wide head_norms = Wide{a.qk_dim()} * ((a.q_norm ? 1 : 0) + (a.k_norm ? 1 : 0));
  const Wide sinks =
      a.is_mla() ? 0  // mla_extras
                 : Wide{a.sinks} * a.kv_heads * (a.qk_dim() + (a.sink_values ? a.v_dim : 0));
  return attention_matrices(c) + latent_norms + head_norms + sinks + (a.qkv_bias ? qkv : 0) +
         (a.o_bias ? c.hidden : 0);
}

Wide swiglu(const ModelConfig& c, int64_t width) {
  return Wide{3} * c.hidden * width;
}

Wide router_all(const ModelConfig& c) {
  return Wide{c.moe.experts} *
         (c.hidden + (c.moe.router_bias ? 1 : 0) + (c.moe.router_scale ? 1 : 0));
}

Wide moe_all(const ModelConfig& c) {
  return c.moe.experts * swiglu(c, c.moe.expert_width) + swiglu(c, c.moe.shared_width) +
         router_all(c);
}

Wide layer_norms(const ModelConfig& c) {
  return Wide{c.hidden} * (c.sandwich_norm ? 4 : 2);
}

Wide mtp_all(const ModelConfig& c) {
  const Wide d = c.hidden;
  const Wide own = 2 * d * d + 3 * d;  // eh_proj; enorm, hnorm, shared_head.norm
  return own + attention_all(c) + moe_all(c) + layer_norms(c);
}

Wide idle_of_layer(const ModelConfig& c) {
  return (c.moe.experts - c.moe.top_k) * swiglu(c, c.moe.expert_width);
}

/// Matrix parameters that one token of a MoE layer passes.
double active_moe_matrices(const ModelConfig& c) {
  return static_cast<double>(c.moe.experts * Wide{c.hidden} +
                             c.moe.top_k * swiglu(c, c.moe.expert_width) +
                             swiglu(c, c.moe.shared_width));
}

}  // namespace

int64_t attention_parameters(const ModelConfig& config) {
  return checked(attention_all(config));
}
int64_t expert_parameters(const ModelConfig& config) {
  return checked(swiglu(config, config.moe.expert_width));
}
int64_t dense_mlp_parameters(const ModelConfig& config) {
  return checked(swiglu(config, config.dense_width));
}
int64_t moe_parameters(const ModelConfig& config) {
  return checked(moe_all(config));
}
int64_t mtp_layer_parameters(const ModelConfig& config) {
  return checked(mtp_all(config));
}

ParameterCount count_parameters(const ModelConfig& config) {
  const Wide moe_layers = config.layers - config.dense_layers;
  ParameterCount count;
  count.embedding = checked(Wide{config.vocab} * config.hidden);
  count.head = config.tie_embeddings ? 0 : count.embedding;
  count.attention =
      checked(config.layers * attention_all(config) + mla_extras_of(config, 0, config.layers));
  count.dense_mlp = checked(config.dense_layers * swiglu(config, config.dense_width));
  count.experts =
      checked(moe_layers * config.moe.experts * swiglu(config, config.moe.expert_width));
  count.shared = checked(moe_layers * swiglu(config, config.moe.shared_width));
  count.router = checked(moe_layers * router_all(config));
  count.norms = checked(config.layers * layer_norms(config) + config.hidden +
                        std::ssize(config.block_norms) * Wide{config.streams} * config.hidden);
  count.streams = checked(streams_all(config));
  count.mtp = checked(config.mtp_layers * mtp_all(config) +
                      mla_extras_of(config, config.layers, config.layers + config.mtp_layers));
  count.idle_experts = checked(moe_layers * idle_of_layer(config));
  count.mtp_idle_experts = checked(config.mtp_layers * idle_of_layer(config));
  checked(Wide{count.embedding} + count.head + count.attention + count.dense_mlp + count.experts +
          count.shared + count.router + count.norms + count.streams + count.mtp);
  return count;
}

KvLayout kv_layout(const ModelConfig& config) {
  const AttentionConfig& a = config.attention;
  KvLayout layout;
  layout.sinks = a.sinks;
  layout.conv_taps = a.conv_taps;
  for (int64_t i = 0; i < config.layers + config.mtp_layers; ++i) {
    KvLayout::Widths widths{.k = a.kv_heads * a.qk_dim(), .v = a.kv_heads * a.v_dim};
    if (a.is_mla()) widths = {.k = a.kv_lora_rank + a.qk_rope_dim};
    if (a.is_indexed(i)) widths.index = a.index_dim;
    widths.conv = a.conv_width();
    layout.layers.push_back(widths);
  }
  return layout;
}

int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  const KvLayout layout = kv_layout(config);
  int64_t page = 0;
  for (int64_t i = 0; i < config.layers; ++i)
    page += KvLayout::page_bytes(layout.layers[static_cast<size_t>(i)], dtype);
  return page / kPageRows;
}

namespace {

/// Keys that a token of a sequence sees on average in a layer, sinks included.
double mean_keys(const AttentionConfig& a, int64_t layer, double sequence) {
  double most = sequence;
  if (a.window(layer) > 0) most = std::min(most, static_cast<double>(a.window(layer)));
  if (a.is_indexed(layer)) most = std::min(most, static_cast<double>(a.index_top_k));
  return most - most * most / (2 * sequence) + static_cast<double>(a.sinks);
}

/// Multiply-adds of attention and of the indexers over layers [begin, end).
double attention_work(const AttentionConfig& a, int64_t begin, int64_t end, double sequence) {
  const auto scores = static_cast<double>(a.heads * (a.qk_dim() + a.v_dim));
  const auto index = static_cast<double>(a.index_heads * a.index_dim);
  double sum = 0;
  for (int64_t i = begin; i < end; ++i)
    sum += scores * mean_keys(a, i, sequence) + (a.is_indexed(i) ? index * sequence / 2 : 0);
  return sum;
}

/// Matrices that openPangu-2.0's trunk has beside the others': indexers, and what the streams'
/// weights are made with.
double extra_matrices(const ModelConfig& c) {
  const AttentionConfig& a = c.attention;
  const double S = static_cast<double>(c.streams), width = S * static_cast<double>(c.hidden);
  const double streams =
      c.streams > 1 ? width * (2 * static_cast<double>(c.layers) * S * (S + 2) + S) : 0;
  const auto indexer = static_cast<double>(a.index_heads * a.index_dim * a.q_lora_rank +
                                           (a.index_dim + a.index_heads) * c.hidden);
  return streams + static_cast<double>(a.index_layers.size()) * indexer;
}

}  // namespace

ForwardFlops forward_flops(const ModelConfig& config, int64_t sequence) {
  const AttentionConfig& a = config.attention;
  const double attention = static_cast<double>(attention_matrices(config));
  const double head = static_cast<double>(config.hidden) * static_cast<double>(config.vocab);
  const double d = static_cast<double>(config.hidden);
  const double moe = active_moe_matrices(config);
  const double dense = static_cast<double>(swiglu(config, config.dense_width));
  const auto length = static_cast<double>(sequence);
  const auto layers = static_cast<double>(config.layers);
  const auto dense_layers = static_cast<double>(config.dense_layers);
  const auto mtp = static_cast<double>(config.mtp_layers);
  ForwardFlops flops;
  flops.matrices = 2 * (layers * attention + dense_layers * dense + (layers - dense_layers) * moe +
                        head + extra_matrices(config));
  flops.attention = 2 * attention_work(a, 0, config.layers, length);
  flops.mtp_matrices = 2 * mtp * (2 * d * d + attention + moe + head);
  flops.mtp_attention =
      2 * attention_work(a, config.layers, config.layers + config.mtp_layers, length);
  return flops;
}

double training_flops(const ModelConfig& config, int64_t sequence, bool with_mtp) {
  const ForwardFlops flops = forward_flops(config, sequence);
  return 3 * (with_mtp ? flops.total() : flops.trunk());
}

}  // namespace um
