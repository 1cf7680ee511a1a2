// See attention.h. Shapes: T new rows, S rows in the cache with them, D hidden, H heads.
#include "nn/attention.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/launch.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/rope.h"

namespace um {
namespace {

/// Up to this many new rows decode with the absorbed form; longer chunks expand the latents.
constexpr int64_t kAbsorbedRows = 16;

/// The rows of a cache tensor that the present forward fills.
Tensor new_rows(const Tensor& cached, const Pass& pass) {
  const int64_t begin = pass.cache->length();
  UM_CHECK(begin + pass.rows.rows <= pass.cache->capacity(),
           "the context is full: {} positions, the cache holds {}", begin + pass.rows.rows,
           pass.cache->capacity());
  return cached.row_range(begin, begin + pass.rows.rows);
}

Tensor filled_rows(const Tensor& cached, const Pass& pass) {
  return cached.row_range(0, pass.cache->length() + pass.rows.rows);
}

}  // namespace

Mla::Mla(ParamStore& store, const std::string& prefix, const ModelConfig& config)
    : config_(config.attention),
      scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.attention.qk_dim())))) {
  const AttentionConfig& a = config_;
  const double std = config.weight_init_std();
  const int64_t q_width = a.heads * a.qk_dim();
  if (a.q_lora_rank > 0) {
    q_a_ = store.matrix(prefix + "q_a_proj.weight", a.q_lora_rank, config.hidden, std);
    q_norm_ = store.vector(prefix + "q_a_layernorm.weight", a.q_lora_rank, 1);
    q_b_ = store.matrix(prefix + "q_b_proj.weight", q_width, a.q_lora_rank, std);
  } else {
    q_ = store.matrix(prefix + "q_proj.weight", q_width, config.hidden, std);
  }
  kv_a_ = store.matrix(prefix + "kv_a_proj_with_mqa.weight", a.kv_lora_rank + a.qk_rope_dim,
                       config.hidden, std);
  kv_norm_ = store.vector(prefix + "kv_a_layernorm.weight", a.kv_lora_rank, 1);
  kv_b_ = store.matrix(prefix + "kv_b_proj.weight", a.heads * (a.qk_nope_dim + a.v_dim),
                       a.kv_lora_rank, std);
  o_ = store.matrix(prefix + "o_proj.weight", config.hidden, a.heads * a.v_dim, std);
}

Tensor Mla::queries(const Tensor& z, const Pass& pass) const {
  Tensor q;
  if (q_ != nullptr) {
    q = linear(z, q_->value);
  } else {
    const auto eps = static_cast<float>(kLatentNormEps);
    q = linear(rmsnorm(linear(z, q_a_->value), q_norm_->value, eps), q_b_->value);
  }
  return rope(q, pass.rows.positions, pass.rope, config_.heads, config_.qk_nope_dim,
              config_.rope_interleave);
}

Tensor Mla::forward(const Tensor& z, const Pass& pass, int64_t layer) const {
  if (pass.cache != nullptr) return forward_cached(z, pass, layer);
  const Tensor q = queries(z, pass);
  const LatentKey key =
      latent_norm_rope(linear(z, kv_a_->value), kv_norm_->value, static_cast<float>(kLatentNormEps),
                       pass.rows.positions, pass.rope, config_.rope_interleave);
  const Tensor kv = linear(key.latent, kv_b_->value);
  return linear(
      attention_mla(q, kv, key.k_rope, config_.heads, config_.qk_nope_dim, scale_, pass.rows),
      o_->value);
}

Tensor Mla::forward_cached(const Tensor& z, const Pass& pass, int64_t layer) const {
  const int64_t rank = config_.kv_lora_rank;
  const Tensor q = queries(z, pass);
  const Tensor& cached = pass.cache->layer(layer).k;
  latent_norm_rope_into(linear(z, kv_a_->value), kv_norm_->value,
                        static_cast<float>(kLatentNormEps), pass.rows.positions, pass.rope,
                        config_.rope_interleave, new_rows(cached, pass));
  const Tensor latents = filled_rows(cached, pass);
  if (pass.rows.rows <= kAbsorbedRows) return linear(absorbed(q, latents, pass.rows), o_->value);
  const Tensor kv = linear(latents.col_range(0, rank), kv_b_->value);
  return linear(attention_mla(q, kv, latents.col_range(rank, latents.cols()), config_.heads,
                              config_.qk_nope_dim, scale_, pass.rows),
                o_->value);
}

Tensor Mla::absorbed(const Tensor& q, const Tensor& latents, const Ragged& rows) const {
  const AttentionConfig& a = config_;
  Device& device = q.device();
  const int64_t T = q.rows(), H = a.heads, rank = a.kv_lora_rank, width = latents.cols();
  const int64_t head_rows = a.qk_nope_dim + a.v_dim;  // of kv_b: per head [key rows | value rows]
  const float* kv_b = kv_b_->value.f32();
  // q'_h = q_nope,h · Wuk_h: the key up-projection goes into the query.
  const Tensor q_latent = Tensor::empty(device, {T, H * width});
  launch(device, Matmul{.m = T,
                        .n = rank,
                        .k = a.qk_nope_dim,
                        .a = q.f32(),
                        .lda = q.ld(),
                        .b = kv_b,
                        .ldb = rank,
                        .c = q_latent.f32(),
                        .ldc = H * width,
                        .batch = H,
                        .stride_a = a.qk_dim(),
                        .stride_b = head_rows * rank,
                        .stride_c = width});
  launch(device, CopyBlocks{.rows = T,
                            .blocks = H,
                            .width = a.qk_rope_dim,
                            .x = q.f32() + a.qk_nope_dim,
                            .ldx = q.ld(),
                            .block_x = a.qk_dim(),
                            .y = q_latent.f32() + rank,
                            .ldy = H * width,
                            .block_y = width});
  const Tensor context = attention_latent(q_latent, latents, H, rank, scale_, rows);
  // o_h = o'_h · Wuv_hᵀ: the value up-projection comes after the attention.
  Tensor out = Tensor::empty(device, {T, H * a.v_dim});
  launch(device, Matmul{.m = T,
                        .n = a.v_dim,
                        .k = rank,
                        .a = context.f32(),
                        .lda = H * rank,
                        .b = kv_b + a.qk_nope_dim * rank,
                        .ldb = rank,
                        .trans_b = true,
                        .c = out.f32(),
                        .ldc = H * a.v_dim,
                        .batch = H,
                        .stride_a = rank,
                        .stride_b = head_rows * rank,
                        .stride_c = a.v_dim});
  return out;
}

Gqa::Gqa(ParamStore& store, const std::string& prefix, const ModelConfig& config)
    : config_(config.attention),
      scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.attention.qk_dim())))) {
  const AttentionConfig& a = config_;
  const double std = config.weight_init_std();
  const int64_t q_width = a.heads * a.qk_dim(), k_width = a.kv_heads * a.qk_dim();
  q_ = store.matrix(prefix + "q_proj.weight", q_width, config.hidden, std);
  k_ = store.matrix(prefix + "k_proj.weight", k_width, config.hidden, std);
  v_ = store.matrix(prefix + "v_proj.weight", a.kv_heads * a.v_dim, config.hidden, std);
  o_ = store.matrix(prefix + "o_proj.weight", config.hidden, a.heads * a.v_dim, std);
  if (a.qkv_bias) {
    q_bias_ = store.vector(prefix + "q_proj.bias", q_width, 0);
    k_bias_ = store.vector(prefix + "k_proj.bias", k_width, 0);
    v_bias_ = store.vector(prefix + "v_proj.bias", a.kv_heads * a.v_dim, 0);
  }
  if (a.o_bias) o_bias_ = store.vector(prefix + "o_proj.bias", config.hidden, 0);
}

Tensor Gqa::forward(const Tensor& z, const Pass& pass, int64_t layer) const {
  const AttentionConfig& a = config_;
  const Tensor& positions = pass.rows.positions;
  const Tensor q = rope(linear(z, q_->value, value_of(q_bias_)), positions, pass.rope, a.heads, 0,
                        a.rope_interleave);
  Tensor k = rope(linear(z, k_->value, value_of(k_bias_)), positions, pass.rope, a.kv_heads, 0,
                  a.rope_interleave);
  Tensor v = linear(z, v_->value, value_of(v_bias_));
  if (pass.cache != nullptr) {
    const LayerCache& cached = pass.cache->layer(layer);
    copy_into(k, new_rows(cached.k, pass));
    copy_into(v, new_rows(cached.v, pass));
    k = filled_rows(cached.k, pass);
    v = filled_rows(cached.v, pass);
  }
  const Tensor context = attention_gqa(q, k, v, a.heads, a.kv_heads, scale_, pass.rows);
  return linear(context, o_->value, value_of(o_bias_));
}

}  // namespace um
