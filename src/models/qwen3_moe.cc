// Qwen3-MoE (Qwen3MoeForCausalLM; arXiv 2505.09388, docs/models.md): Qwen3's attention, a softmax
// router whose chosen probabilities are made to sum to one, no shared expert. Which layers are
// dense is said twice over (decoder_sparse_step, mlp_only_layers); we run the published case, none,
// and leading dense layers.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

/// How many leading layers `mlp_only_layers` lists; any other list is refused.
int64_t leading_dense_layers(const JsonObject& config, int64_t layers) {
  const Json* list = config.find("mlp_only_layers");
  if (list == nullptr) return 0;
  const auto count = static_cast<int64_t>(list->is_array() ? list->size() : 0);
  if (!list->is_array() || count > layers) config.wrong("mlp_only_layers", "a list of layers");
  for (int64_t i = 0; i < count; ++i)
    if ((*list)[static_cast<size_t>(i)] != i)
      config.wrong("mlp_only_layers", "the first layers in order (others cannot be run)");
  return count;
}

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::qwen3_moe);
  c.attention = fields::read_gqa(config, c.hidden, 10000.0, false);
  c.attention.q_norm = c.attention.k_norm = true;
  fields::only(config, "decoder_sparse_step", 1);
  c.dense_layers = leading_dense_layers(config, c.layers);
  if (c.dense_layers > 0) c.dense_width = config.integer("intermediate_size", 1, fields::kMaxWidth);
  MoeConfig& m = c.moe;
  m.experts = fields::integer(config, {"num_experts", "num_local_experts"}, 1, fields::kMaxExperts);
  m.top_k = config.integer("num_experts_per_tok", 1, m.experts);
  m.expert_width = config.integer("moe_intermediate_size", 1, fields::kMaxWidth);
  m.norm_topk = config.boolean_or("norm_topk_prob", false);
  return c;
}

void write(const ModelConfig& c, Json& out) {
  out["attention_bias"] = c.attention.qkv_bias;
  out["use_sliding_window"] = false;
  out["decoder_sparse_step"] = 1;
  out["mlp_only_layers"] = Json::array();
  for (int64_t i = 0; i < c.dense_layers; ++i) out["mlp_only_layers"].push_back(i);
  if (c.dense_layers > 0) out["intermediate_size"] = c.dense_width;
  out["num_experts"] = c.moe.experts;
  out["num_experts_per_tok"] = c.moe.top_k;
  out["moe_intermediate_size"] = c.moe.expert_width;
  out["norm_topk_prob"] = c.moe.norm_topk;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kQwen3Moe{
    Family::qwen3_moe, "Qwen3MoeForCausalLM", "qwen3_moe", read, write, build};

}  // namespace um
