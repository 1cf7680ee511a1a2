// See key_indexer.h.
#include "nn/key_indexer.h"

#include <cmath>

#include "ops/key_mask.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/tape.h"

namespace um {

KeyIndexer::KeyIndexer(ParamStore& store, const std::string& prefix, const ModelConfig& config)
    : config_(config.attention) {
  const AttentionConfig& a = config_;
  const double std = config.weight_init_std();
  q_ = store.matrix(prefix + "wq_b.weight", a.index_heads * a.index_dim, a.q_lora_rank, std);
  k_ = store.matrix(prefix + "wk.weight", a.index_dim, config.hidden, std);
  k_norm_ = store.vector(prefix + "k_norm.weight", a.index_dim, 1);
  weights_ = store.matrix(prefix + "weights_proj.weight", a.index_heads, config.hidden, std);
  for (Param* param : {q_, k_, k_norm_, weights_}) param->set_trainable(false);
}

Tensor KeyIndexer::mask(const LinearInput& z, const LinearInput& query_latent, const Pass& pass,
                        int64_t layer) const {
  const Tape::Recording off(nullptr);
  const AttentionConfig& a = config_;
  const Tensor& positions = pass.rows.positions;
  const auto rotated = [&](const Tensor& x, int64_t heads) {
    return rope(x, positions, pass.rope, heads, 0, false);
  };
  Tensor keys = rotated(
      rmsnorm(linear_f32(z, k_->weight()), k_norm_->value, static_cast<float>(kLatentNormEps)), 1);
  PageTable pages;
  if (pass.cache != nullptr) {
    const KvView& view = *pass.cache;
    const Tensor& cache = view.pool->layer(layer).index;
    scatter_rows(keys, view.slots, cache);
    keys = cache;
    pages = {view.pages, kPageRows};
  }
  if (!sees_more_than(pass.rows, a.index_top_k)) return {};
  const Tensor queries = rotated(linear_f32(query_latent, q_->weight()), a.index_heads);
  // The weights' own 1/sqrt(heads) is part of the scale: both are positive.
  const double scale =
      1.0 / std::sqrt(static_cast<double>(a.index_dim) * static_cast<double>(a.index_heads));
  return index_mask({queries, linear_f32(z, weights_->weight()), keys, pages}, pass.rows,
                    a.index_top_k, static_cast<float>(scale));
}

}  // namespace um
