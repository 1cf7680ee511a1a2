// Pangu Pro MoE (PanguProMoEForCausalLM; arXiv 2505.21411, docs/models.md): every layer is a
// mixture of grouped experts (MoGE: the same number of experts from each group, softmax over all, a
// learned router_scale, no renormalisation) with one joint shared expert; pre-norm, GQA with
// biases.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

/// One expert of each of top_k groups unless our field `num_expert_groups` says otherwise.
ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::pro_moe, {.norm_eps = 1e-5});
  c.attention = fields::read_gqa(config, c.hidden, 16000000.0, true);
  fields::only(config, "decoder_sparse_step", 1);
  fields::only(config, "mlp_only_layers", Json::array());
  MoeConfig& m = c.moe;
  m.experts = config.integer("num_experts", 1, fields::kMaxExperts);
  m.top_k = config.integer("num_experts_per_tok", 1, m.experts);
  m.groups = config.integer_or("num_expert_groups", m.top_k, 1, m.top_k);
  m.expert_width = config.integer("moe_intermediate_size", 1, fields::kMaxWidth);
  m.shared_width = config.integer_or("shared_expert_intermediate_size", 0, 0, fields::kMaxWidth);
  m.shared_experts = m.shared_width > 0 ? 1 : 0;
  m.norm_topk = config.boolean_or("norm_topk_prob", false);
  m.router_scale = config.boolean_or("router_scale", true);
  return c;
}

void write(const ModelConfig& c, Json& out) {
  out["attention_bias"] = c.attention.qkv_bias;
  out["num_experts"] = c.moe.experts;
  out["num_experts_per_tok"] = c.moe.top_k;
  out["num_expert_groups"] = c.moe.groups;
  out["moe_intermediate_size"] = c.moe.expert_width;
  out["shared_expert_intermediate_size"] = c.moe.shared_width;
  out["norm_topk_prob"] = c.moe.norm_topk;
  out["router_scale"] = c.moe.router_scale;
}

void build(Model& model) {
  model.add_layers({.shared = "shared_expert."});
}

}  // namespace

const Architecture kPanguProMoe{
    Family::pro_moe, "PanguProMoEForCausalLM", "PanguProMoE", read, write, build};

}  // namespace um
