// Writing a config.json with the published names; see config.h.
#include "core/json.h"
#include "models/config.h"

namespace um {
namespace {

void write_ultra_moe(const ModelConfig& c, Json& out) {
  const AttentionConfig& a = c.attention;
  out["model_type"] = "pangu_ultra_moe";
  out["kv_lora_rank"] = a.kv_lora_rank;
  out["attention_bias"] = a.qkv_bias;
  if (a.is_mla()) {
    out["q_lora_rank"] = a.q_lora_rank > 0 ? Json(a.q_lora_rank) : Json(nullptr);
    out["qk_rope_head_dim"] = a.qk_rope_dim;
    out["qk_nope_head_dim"] = a.qk_nope_dim;
    out["v_head_dim"] = a.v_dim;
  }
  out["first_k_dense_replace"] = c.dense_layers;
  out["intermediate_size"] = c.dense_width;
  out["num_nextn_predict_layers"] = c.mtp_layers;
  out["sandwich_norm"] = c.sandwich_norm;
  out["dssn_c_attn"] = c.c_attn;
  out["dssn_c_mlp"] = c.c_mlp;
  out["n_routed_experts"] = c.moe.experts;
  out["num_experts_per_tok"] = c.moe.top_k;
  out["moe_intermediate_size"] = c.moe.expert_width;
  out["n_shared_experts"] = c.moe.shared_experts;
  out["routed_scaling_factor"] = c.moe.scaling;
  out["norm_topk_prob"] = c.moe.norm_topk;
  out["router_enable_expert_bias"] = c.moe.router_bias;
  out["scoring_func"] = c.moe.score == RouterScore::sigmoid ? "sigmoid" : "softmax";
}

void write_pro_moe(const ModelConfig& c, Json& out) {
  out["model_type"] = "PanguProMoE";
  out["attention_bias"] = c.attention.qkv_bias;
  out["num_experts"] = c.moe.experts;
  out["num_experts_per_tok"] = c.moe.top_k;
  out["num_expert_groups"] = c.moe.groups;
  out["moe_intermediate_size"] = c.moe.expert_width;
  out["shared_expert_intermediate_size"] = c.moe.shared_width;
  out["norm_topk_prob"] = c.moe.norm_topk;
  out["router_scale"] = c.moe.router_scale;
}

void write_dense(const ModelConfig& c, Json& out) {
  const bool pangu = c.family == Family::embedded;
  out["model_type"] = pangu ? "PanguEmbedded" : "llama";
  out[pangu ? "bias" : "attention_bias"] = c.attention.qkv_bias;
  out["intermediate_size"] = c.dense_width;
}

Json id_or_null(int64_t id) {
  return id < 0 ? Json(nullptr) : Json(id);
}

}  // namespace

Json config_to_json(const ModelConfig& config) {
  validate(config, "model config");
  Json out = Json::object();
  out["architectures"] = {architecture_name(config.family)};
  out["vocab_size"] = config.vocab;
  out["hidden_size"] = config.hidden;
  out["hidden_act"] = "silu";
  out["num_hidden_layers"] = config.layers;
  out["num_attention_heads"] = config.attention.heads;
  out["num_key_value_heads"] = config.attention.kv_heads;
  if (!config.attention.is_mla()) out["head_dim"] = config.attention.qk_rope_dim;
  out["rope_theta"] = config.attention.rope_theta;
  out["rope_interleave"] = config.attention.rope_interleave;
  out["max_position_embeddings"] = config.max_positions;
  out["rms_norm_eps"] = config.norm_eps;
  out["tie_word_embeddings"] = config.tie_embeddings;
  out["initializer_range"] = config.initializer_range;
  out["init_rule"] = config.init == InitRule::tiny ? "tiny" : "normal";
  out["embedding_init_std"] = config.embedding_init_std;
  out["bos_token_id"] = id_or_null(config.bos);
  out["pad_token_id"] = id_or_null(config.pad);
  if (config.eos.size() == 1) out["eos_token_id"] = config.eos[0];
  if (config.eos.size() != 1) out["eos_token_id"] = config.eos.empty() ? Json() : Json(config.eos);
  out["torch_dtype"] = dtype_config_name(config.dtype);
  switch (config.family) {
    case Family::ultra_moe:
      write_ultra_moe(config, out);
      break;
    case Family::pro_moe:
      write_pro_moe(config, out);
      break;
    case Family::embedded:
    case Family::llama:
      write_dense(config, out);
      break;
  }
  return out;
}

}  // namespace um
