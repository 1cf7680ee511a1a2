// DeepSeek-V2 and V2-Lite (DeepseekV2ForCausalLM; arXiv 2405.04434, docs/models.md): MLA, pre-norm,
// leading dense layers, a softmax router: the best experts of all (greedy, V2-Lite), or of the
// groups with the best single expert (group_limited_greedy).
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::deepseek_v2);
  c.attention = fields::read_mla(config, 10000.0);
  fields::read_deepseek_layers(config, c);
  fields::only(config, "scoring_func", "softmax");
  MoeConfig& m = c.moe;
  m.scaling = config.number_or("routed_scaling_factor", 1.0, 0.0, 1e6);
  m.norm_topk = config.boolean_or("norm_topk_prob", false);
  const std::string method = config.string_or("topk_method", "greedy");
  if (method != "greedy" && method != "group_limited_greedy")
    config.wrong("topk_method", "greedy or group_limited_greedy");
  if (method == "greedy") return c;
  m.groups = config.integer("n_group", 1, m.experts);
  m.limit_groups = config.integer("topk_group", 1, m.groups);
  if (m.limit_groups == m.groups) m.groups = 1, m.limit_groups = 0;  // no limit
  return c;
}

void write(const ModelConfig& c, Json& out) {
  fields::write_mla(c.attention, out);
  fields::write_deepseek_layers(c, out);
  out["topk_method"] = c.moe.limit_groups > 0 ? "group_limited_greedy" : "greedy";
  out["n_group"] = c.moe.groups;
  out["topk_group"] = c.moe.limit_groups > 0 ? c.moe.limit_groups : 1;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kDeepseekV2{
    Family::deepseek_v2, "DeepseekV2ForCausalLM", "deepseek_v2", read, write, build};

}  // namespace um
