// Pangu Ultra MoE (PanguUltraMoEForCausalLM; arXiv 2505.04519, openPangu-Ultra-MoE-718B): leading
// dense layers, then MoE layers with MLA, sandwich norms with depth-scaled gains, a sigmoid router
// with normalised top-k weights times a factor, shared experts, and MTP heads as further layers.
// Configs come in the V1.0 spelling or DeepSeek's (interop.md 1.5).
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

constexpr double kTheta = 25600000.0;

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::ultra_moe, {1e-5, InitRule::tiny});
  // Rank 0 with a head_dim asks for grouped-query attention instead, to compare the two.
  const bool mla =
      fields::integer(config, {"kv_lora_rank", "attention_kv_lora_dim"}, 0, fields::kMaxWidth) > 0;
  if (!mla) config.integer("head_dim", 2, fields::kMaxHeadDim);
  c.attention =
      mla ? fields::read_mla(config, kTheta) : fields::read_gqa(config, c.hidden, kTheta, false);
  fields::read_deepseek_layers(config, c);
  for (const char* key : {"n_group", "topk_group"}) fields::only(config, key, 1);
  c.sandwich_norm = config.boolean_or("sandwich_norm", true);
  c.c_attn = config.number_or("dssn_c_attn", c.c_attn, 0.0, 1000.0);
  c.c_mlp = config.number_or("dssn_c_mlp", c.c_mlp, 0.0, 1000.0);
  MoeConfig& m = c.moe;
  m.scaling = config.number_or("routed_scaling_factor", 2.5, 0.0, 1e6);
  m.norm_topk = config.boolean_or("norm_topk_prob", true);
  m.router_bias = config.boolean_or("router_enable_expert_bias", false);
  const std::string score = config.string_or("scoring_func", "sigmoid");
  if (score != "sigmoid" && score != "softmax") config.wrong("scoring_func", "sigmoid or softmax");
  m.score = score == "sigmoid" ? RouterScore::sigmoid : RouterScore::softmax;
  return c;
}

void write(const ModelConfig& c, Json& out) {
  if (c.attention.is_mla()) {
    fields::write_mla(c.attention, out);
  } else {
    out["kv_lora_rank"] = 0;
    out["attention_bias"] = c.attention.qkv_bias;
  }
  fields::write_deepseek_layers(c, out);
  out["sandwich_norm"] = c.sandwich_norm;
  out["dssn_c_attn"] = c.c_attn;
  out["dssn_c_mlp"] = c.c_mlp;
  out["router_enable_expert_bias"] = c.moe.router_bias;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kPanguUltraMoe{
    Family::ultra_moe, "PanguUltraMoEForCausalLM", "pangu_ultra_moe", read, write, build};

}  // namespace um
