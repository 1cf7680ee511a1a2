// DeepSeek-V3, V3.1 and R1 (DeepseekV3ForCausalLM; arXiv 2412.19437, docs/models.md): MLA,
// pre-norm, leading dense layers, a sigmoid router with a correction bias for the choice (noaux_tc)
// that takes experts from the groups whose best two sum highest, and MTP heads as further layers.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::deepseek_v3);
  c.attention = fields::read_mla(config, 10000.0);
  fields::read_deepseek_layers(config, c);
  fields::only(config, "scoring_func", "sigmoid");
  fields::only(config, "topk_method", "noaux_tc");
  MoeConfig& m = c.moe;
  m.score = RouterScore::sigmoid;
  m.router_bias = true;
  m.scaling = config.number_or("routed_scaling_factor", 2.5, 0.0, 1e6);
  m.norm_topk = config.boolean_or("norm_topk_prob", true);
  m.groups = config.integer_or("n_group", 1, 1, m.experts);
  m.limit_groups = config.integer_or("topk_group", m.groups, 1, m.groups);
  if (m.limit_groups == m.groups) m.groups = 1, m.limit_groups = 0;  // no limit
  return c;
}

void write(const ModelConfig& c, Json& out) {
  fields::write_mla(c.attention, out);
  fields::write_deepseek_layers(c, out);
  out["topk_method"] = "noaux_tc";
  out["n_group"] = c.moe.groups;
  out["topk_group"] = c.moe.limit_groups > 0 ? c.moe.limit_groups : 1;
}

void build(Model& model) {
  model.add_layers({.router_bias = "gate.e_score_correction_bias"});
}

}  // namespace

const Architecture kDeepseekV3{
    Family::deepseek_v3, "DeepseekV3ForCausalLM", "deepseek_v3", read, write, build};

}  // namespace um
