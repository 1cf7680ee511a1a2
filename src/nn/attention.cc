// See attention.h. Shapes: T new rows, D hidden, H heads.
#include "nn/attention.h"

#include <array>

#include "nn/rotary.h"
#include "ops/key_mask.h"
#include "ops/launch.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/rows_columns.h"

namespace um {
namespace {

/// Page tables of sequences [begin, end) of a view.
PageTable page_table(const KvView& view, int64_t begin, int64_t end) {
  return {view.pages.row_range(begin, end), kPageRows};
}

}  // namespace

Mla::Mla(ParamStore& store, const std::string& prefix, const ModelConfig& config, int64_t layer)
    : config_(config.attention),
      scale_(static_cast<float>(attention_scale(config.attention))),
      window_(config.attention.window(layer)) {
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
  kv_b_ = store.two_sided_matrix(prefix + "kv_b_proj.weight", a.heads * (a.qk_nope_dim + a.v_dim),
                                 a.kv_lora_rank, std);
  o_ = store.matrix(prefix + "o_proj.weight", config.hidden, a.heads * a.v_dim, std);
  // One vector each in memory: they stay in f32 and do not decay.
  const auto vectors = [&](const char* name, const Shape& shape) {
    Param* param =
        store.stacked(prefix + name, {shape.count()}, {{prefix + name, 0, shape}}, {0, std});
    param->decay = false;
    return param;
  };
  if (a.conv_taps > 0) {
    q_conv_ = vectors("qa_conv.weight", {a.q_lora_rank, 1, a.conv_taps});
    kv_conv_ = vectors("compresskv_conv.weight", {a.kv_lora_rank, 1, a.conv_taps});
    o_conv_ = vectors("o_conv.weight", {a.heads * a.v_dim, 1, a.conv_taps});
  }
  if (a.sinks > 0) {
    sink_latent_ = vectors("param_sink_compressed_kv", {a.sinks, a.kv_lora_rank});
    sink_rope_ = vectors("param_sink_k_pe", {a.sinks, a.qk_rope_dim});
  }
  if (a.is_indexed(layer))
    indexer_ = std::make_unique<KeyIndexer>(store, prefix + "indexer.", config);
}

LinearInput Mla::query_latent(const LinearInput& z, const Pass& pass, int64_t layer) const {
  if (q_ != nullptr) return z;
  return rmsnorm(convolved(linear(z, q_a_->weight()), Site::query, pass, layer), q_norm_->value,
                 static_cast<float>(kLatentNormEps));
}

Tensor Mla::queries(const LinearInput& query_latent, const Pass& pass) const {
  const Tensor q = linear(query_latent, (q_ != nullptr ? q_ : q_b_)->weight());
  return rope(q, pass.rows.positions, pass.rope, config_.heads, config_.qk_nope_dim,
              config_.rope_interleave);
}

Tensor Mla::convolved(const Tensor& x, Site site, const Pass& pass, int64_t layer) const {
  if (config_.conv_taps == 0) return x;
  const AttentionConfig& a = config_;
  const std::array<int64_t, 4> begin{0, a.q_lora_rank, a.q_lora_rank + a.kv_lora_rank,
                                     a.conv_width()};
  const auto i = static_cast<size_t>(site);
  Tensor kept;
  if (pass.cache != nullptr)
    kept = pass.cache->pool->layer(layer).conv.col_range(begin[i], begin[i + 1]);
  const Param* weight = std::array{q_conv_, kv_conv_, o_conv_}[i];
  return pass.convs.convolve(x, weight->value, kept);
}

Tensor Mla::key_mask(const LinearInput& z, const LinearInput& query_latent, const Pass& pass,
                     int64_t layer) const {
  if (indexer_ != nullptr) return indexer_->mask(z, query_latent, pass, layer);
  return window_ > 0 ? window_mask(z.rows().device(), pass.rows, window_) : Tensor();
}

Tensor Mla::forward(const Tensor& rows, const Pass& pass, int64_t layer) const {
  const LinearInput z(rows);
  const LinearInput latent = query_latent(z, pass, layer);
  const Tensor mask = key_mask(z, latent, pass, layer);
  const Tensor q = queries(latent, pass);
  const Tensor kv_a = convolved(linear(z, kv_a_->weight()), Site::latent, pass, layer);
  const Tensor context = pass.cache != nullptr ? attend_cached(q, kv_a, pass, mask, layer)
                                               : attend(q, kv_a, pass, mask);
  return linear(convolved(context, Site::output, pass, layer), o_->weight());
}

Tensor Mla::attend(const Tensor& q, const Tensor& kv_a, const Pass& pass,
                   const Tensor& mask) const {
  LatentKey key = latent_norm_rope(kv_a, kv_norm_->value, static_cast<float>(kLatentNormEps),
                                   pass.rows.positions, pass.rope, config_.rope_interleave);
  if (config_.sinks > 0) {
    key.latent = prepend_rows(sink_latents(), key.latent, pass.rows);
    key.k_rope = prepend_rows(sink_rope_->value, key.k_rope, pass.rows);
  }
  const Tensor kv = linear(key.latent, kv_b_->weight());
  return attention_mla(q, kv, key.k_rope, config_.heads, config_.qk_nope_dim, scale_, pass.rows,
                       mask);
}

Tensor Mla::attend_cached(const Tensor& q, const Tensor& kv_a, const Pass& pass, const Tensor& mask,
                          int64_t layer) const {
  const KvView& view = *pass.cache;
  const int64_t T = pass.rows.rows, prompts = view.prompt_sequences, prompt_rows = view.prompt_rows;
  const Rows& pool = view.pool->layer(layer).k;
  const auto mask_rows = [&](int64_t begin, int64_t end) {
    return mask ? mask.row_range(begin, end) : Tensor();
  };
  latent_norm_rope_into(kv_a, kv_norm_->value, static_cast<float>(kLatentNormEps),
                        pass.rows.positions, pass.rope, config_.rope_interleave, pool, view.slots);
  const auto naive_rows = [&] {
    return naive(q.row_range(0, prompt_rows), gather_rows(pool, view.prompt_slots),
                 pass.rows.part(0, prompts, 0, prompt_rows), mask_rows(0, prompt_rows));
  };
  if (prompt_rows == T) return naive_rows();
  Tensor context = Tensor::empty(q.device(), {T, config_.heads * config_.v_dim});
  if (prompt_rows > 0) copy_into(naive_rows(), context.row_range(0, prompt_rows));
  absorbed(q.row_range(prompt_rows, T), pool,
           pass.rows.part(prompts, pass.rows.sequences, prompt_rows, T),
           page_table(view, prompts, pass.rows.sequences), mask_rows(prompt_rows, T),
           context.row_range(prompt_rows, T));
  return context;
}

Tensor Mla::sink_latents() const {
  return rmsnorm(sink_latent_->value, kv_norm_->value, static_cast<float>(kLatentNormEps));
}

void Mla::write_sinks(const LayerCache& cache, const Tensor& slots) const {
  const AttentionConfig& a = config_;
  if (a.sinks == 0) return;
  const Tensor rows = Tensor::empty(slots.device(), {a.sinks, cache.k.cols()});
  copy_into(sink_latents().reshape({a.sinks, a.kv_lora_rank}), rows.col_range(0, a.kv_lora_rank));
  copy_into(sink_rope_->value.reshape({a.sinks, a.qk_rope_dim}),
            rows.col_range(a.kv_lora_rank, rows.cols()));
  scatter_rows(rows, slots, cache.k);
}

Tensor Mla::naive(const Tensor& q, const Tensor& latents, const Ragged& rows,
                  const Tensor& mask) const {
  const int64_t rank = config_.kv_lora_rank;
  const Tensor kv = linear(latents.col_range(0, rank), kv_b_->weight());
  return attention_mla(q, kv, latents.col_range(rank, latents.cols()), config_.heads,
                       config_.qk_nope_dim, scale_, rows, mask);
}

void Mla::absorbed(const Tensor& q, const Rows& latents, const Ragged& rows, const PageTable& pages,
                   const Tensor& mask, const Tensor& out) const {
  const AttentionConfig& a = config_;
  Device& device = q.device();
  const int64_t T = q.rows(), H = a.heads, rank = a.kv_lora_rank, width = latents.cols();
  const int64_t head_rows = a.qk_nope_dim + a.v_dim;  // of kv_b: per head [key rows | value rows]
  const RowsView kv_b = rows_view(kv_b_->value);
  // q'_h = q_nope,h · Wuk_h: the key up-projection goes into the query.
  const Tensor q_latent = Tensor::empty(device, {T, H * width});
  launch(device, Matmul{.m = T,
                        .n = rank,
                        .k = a.qk_nope_dim,
                        .a = rows_view(q),
                        .b = kv_b,
                        .c = q_latent.f32(),
                        .ldc = H * width,
                        .batch = H,
                        .stride_a = a.qk_dim(),
                        .rows_b = head_rows,
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
  const Tensor context = attention_latent(q_latent, latents, H, rank, scale_, rows, pages, mask);
  // o_h = o'_h · Wuv_hᵀ: the value up-projection comes after the attention.
  launch(device, Matmul{.m = T,
                        .n = a.v_dim,
                        .k = rank,
                        .a = rows_view(context),
                        .b = kv_b.from_row(a.qk_nope_dim),
                        .trans_b = true,
                        .c = out.f32(),
                        .ldc = out.ld(),
                        .batch = H,
                        .stride_a = rank,
                        .rows_b = head_rows,
                        .stride_c = a.v_dim});
}

Gqa::Gqa(ParamStore& store, const std::string& prefix, const ModelConfig& config,
         const LayerNames& names)
    : config_(config.attention),
      eps_(static_cast<float>(config.norm_eps)),
      scale_(static_cast<float>(attention_scale(config.attention))) {
  const AttentionConfig& a = config_;
  const double std = config.weight_init_std();
  const int64_t q_width = a.heads * a.qk_dim(), k_width = a.kv_heads * a.qk_dim();
  const int64_t v_width = a.kv_heads * a.v_dim;
  if (a.fused_qkv) {
    qkv_ =
        store.matrix(prefix + "qkv_proj.weight", q_width + k_width + v_width, config.hidden, std);
  } else {
    q_ = store.matrix(prefix + "q_proj.weight", q_width, config.hidden, std);
    k_ = store.matrix(prefix + "k_proj.weight", k_width, config.hidden, std);
    v_ = store.matrix(prefix + "v_proj.weight", v_width, config.hidden, std);
  }
  o_ = store.matrix(prefix + "o_proj.weight", config.hidden, a.heads * a.v_dim, std);
  if (a.qkv_bias) {
    q_bias_ = store.vector(prefix + "q_proj.bias", q_width, 0);
    k_bias_ = store.vector(prefix + "k_proj.bias", k_width, 0);
    v_bias_ = store.vector(prefix + "v_proj.bias", v_width, 0);
  }
  if (a.o_bias) o_bias_ = store.vector(prefix + "o_proj.bias", config.hidden, 0);
  if (a.q_norm) q_norm_ = store.vector(prefix + names.q_norm, a.qk_dim(), 1);
  if (a.k_norm) k_norm_ = store.vector(prefix + names.k_norm, a.qk_dim(), 1);
  if (a.sinks == 0) return;
  // One vector each in memory: they stay in f32 and do not decay.
  const auto sinks = [&](const char* name, int64_t dim) {
    Param* param = store.stacked(prefix + name, {a.sinks * a.kv_heads * dim},
                                 {{prefix + name, 0, {a.sinks, a.kv_heads, dim}}}, {0, std});
    param->decay = false;
    return param;
  };
  sink_key_ = sinks("param_sink_key", a.qk_dim());
  if (a.sink_values)
    sink_value_ = sinks("param_sink_value", a.v_dim);
  else
    sink_zeros_ = Tensor::zeros(store.device(), {a.sinks, v_width});
}

Gqa::Heads Gqa::project(const LinearInput& z) const {
  if (qkv_ == nullptr)
    return {linear(z, q_->weight(), value_of(q_bias_)), linear(z, k_->weight(), value_of(k_bias_)),
            linear(z, v_->weight(), value_of(v_bias_))};
  const AttentionConfig& a = config_;
  auto [q, k, v] =
      split_columns(linear(z, qkv_->weight()),
                    {a.heads * a.qk_dim(), a.kv_heads * a.qk_dim(), a.kv_heads * a.v_dim});
  return {q, k, v};
}

Tensor Gqa::attend(const Heads& heads, const Pass& pass) const {
  const AttentionConfig& a = config_;
  if (a.sinks == 0)
    return attention_gqa(heads.q, heads.k, heads.v, a.heads, a.kv_heads, scale_, pass.rows);
  const Tensor& sink_values = sink_value_ != nullptr ? sink_value_->value : sink_zeros_;
  const Tensor k =
      prepend_rows(rmsnorm(sink_key_->value, k_norm_->value, eps_), heads.k, pass.rows);
  const Tensor v = prepend_rows(sink_values, heads.v, pass.rows);
  return attention_gqa(heads.q, k, v, a.heads, a.kv_heads, scale_, pass.rows);
}

void Gqa::write_sinks(const LayerCache& cache, const Tensor& slots) const {
  const AttentionConfig& a = config_;
  if (a.sinks == 0) return;
  const Tensor keys = rmsnorm(sink_key_->value, k_norm_->value, eps_);
  const Tensor values = sink_value_ != nullptr ? sink_value_->value : sink_zeros_;
  scatter_rows(keys.reshape({a.sinks, cache.k.cols()}), slots, cache.k);
  scatter_rows(values.reshape({a.sinks, cache.v.cols()}), slots, cache.v);
}

Tensor Gqa::rotated(const Tensor& heads, const Param* norm, int64_t count, const Pass& pass) const {
  const Tensor normed = norm == nullptr ? heads : rmsnorm(heads, norm->value, eps_);
  return rope(normed, pass.rows.positions, pass.rope, count,
              config_.rope_first ? 0 : config_.qk_nope_dim, config_.rope_interleave);
}

Tensor Gqa::forward(const Tensor& z, const Pass& pass, int64_t layer) const {
  const AttentionConfig& a = config_;
  Heads heads = project(z);
  heads.q = rotated(heads.q, q_norm_, a.heads, pass);
  heads.k = rotated(heads.k, k_norm_, a.kv_heads, pass);
  if (pass.cache == nullptr) return linear(attend(heads, pass), o_->weight(), value_of(o_bias_));
  const KvView& view = *pass.cache;
  const LayerCache& pool = view.pool->layer(layer);
  scatter_rows(heads.k, view.slots, pool.k);
  scatter_rows(heads.v, view.slots, pool.v);
  const Tensor context = attention_gqa_cached(heads.q, pool.k, pool.v, a.heads, a.kv_heads, scale_,
                                              pass.rows, page_table(view, 0, pass.rows.sequences));
  return linear(context, o_->weight(), value_of(o_bias_));
}

}  // namespace um
