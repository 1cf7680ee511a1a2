// How large a model is and what it costs, from its config alone: parameters by part, active
// parameters, cache bytes and FLOPs per token. Golden integers: tests/models/config_test.cc.
#pragma once

#include <cstdint>

#include "models/config.h"
#include "nn/kv_pool.h"

namespace um {

/// Parameters by part. The trunk's parts sum over its layers; `mtp` is all MTP layers without their
/// copies of embedding and head.
struct ParameterCount {
  int64_t embedding = 0;
  int64_t head = 0;       // 0 when tied to the embedding
  int64_t attention = 0;  // projections, biases, latent norms, sinks, indexers, convolutions
  int64_t dense_mlp = 0;
  int64_t experts = 0;  // routed
  int64_t shared = 0;
  int64_t router = 0;   // gate, correction bias, router scale
  int64_t norms = 0;    // of the layers and at the end
  int64_t streams = 0;  // of hyper-connections
  int64_t mtp = 0;
  int64_t idle_experts = 0;      // those of `experts` that one token does not visit
  int64_t mtp_idle_experts = 0;  // the same within `mtp`

  int64_t body() const {
    return attention + dense_mlp + experts + shared + router + norms + streams;
  }
  /// Everything stored, MTP layers apart: both embedding sides unless tied.
  int64_t total() const { return embedding + head + body(); }
  /// The papers' "718B": the body and one embedding side.
  int64_t total_one_side() const { return embedding + body(); }
  int64_t total_with_mtp() const { return total() + mtp; }
  /// Used by one token, both embedding sides unless tied ("16.5B" of Pro MoE).
  int64_t active() const { return total() - idle_experts; }
  /// The same with one embedding side ("39B" of Ultra MoE).
  int64_t active_one_side() const { return total_one_side() - idle_experts; }
};

/// Throws Error if the model has more than 2^53 parameters.
ParameterCount count_parameters(const ModelConfig& config);

/// One piece each, for tables and tests.
int64_t attention_parameters(const ModelConfig& config);
int64_t expert_parameters(const ModelConfig& config);
int64_t dense_mlp_parameters(const ModelConfig& config);
int64_t moe_parameters(const ModelConfig& config);  // experts, shared and router of one layer
int64_t mtp_layer_parameters(const ModelConfig& config);

/// What a model keeps of each token in its cache (nn/kv_pool.h), trunk and MTP heads.
KvLayout kv_layout(const ModelConfig& config);

/// Bytes that one token takes in the trunk's KV cache: for MLA the latent and the rotary key. In i8
/// with the scales. With an indexer's keys, and a page's convolution inputs shared by its tokens.
int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype);

/// FLOPs of one token's forward pass, a multiply-add counted as two. Matrices: 2 x active matrix
/// parameters, the head included. Attention: scores and values at half of the square, as causality
/// leaves, or at what windows and indexers leave, averaged over a sequence of `sequence` tokens.
struct ForwardFlops {
  double matrices = 0, attention = 0;
  double mtp_matrices = 0, mtp_attention = 0;  // all MTP layers, each with its pass of the head

  double trunk() const { return matrices + attention; }
  double total() const { return trunk() + mtp_matrices + mtp_attention; }
};
ForwardFlops forward_flops(const ModelConfig& config, int64_t sequence);

/// Forward and backward of one token: three forwards, of the MTP heads too unless `with_mtp` is
/// false. Recomputation does not count.
double training_flops(const ModelConfig& config, int64_t sequence, bool with_mtp = true);

}  // namespace um
