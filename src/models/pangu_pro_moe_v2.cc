// openPangu-R-72B (PanguProMoEV2ForCausalLM; docs/models.md): Pangu Ultra MoE's layers (sandwich
// norms, leading dense layers, sigmoid router with a correction bias, MTP heads) with grouped-query
// attention: one matrix for q, k and v, a norm on each key head, values of another width, sinks,
// and a rotation of the first channels of a head in interleaved pairs. That they are the first, and
// that the matrix is one, is how two public implementations run the published weights.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

AttentionConfig read_attention(const JsonObject& config) {
  AttentionConfig a;
  a.heads = config.integer("num_attention_heads", 1, fields::kMaxHeads);
  a.kv_heads = config.integer_or("num_key_value_heads", a.heads, 1, a.heads);
  a.qk_nope_dim = config.integer("qk_nope_dim", 0, fields::kMaxHeadDim);
  a.qk_rope_dim = config.integer("qk_rope_dim", 2, fields::kMaxHeadDim);
  config.integer_or("head_dim", a.qk_dim(), a.qk_dim(), a.qk_dim());
  a.v_dim = config.integer("v_channels", 1, fields::kMaxHeadDim);
  a.k_norm = a.rope_first = a.fused_qkv = a.rope_interleave = true;
  a.sinks = config.integer("param_sink_number", 1, fields::kMaxWidth);
  a.sink_values = config.boolean_or("param_sink_with_value", false);
  for (const char* key : {"attention_bias", "bias", "qkv_bias", "param_sink_of_head_num"})
    fields::only(config, key, false);
  fields::only(config, "param_sink_scalar", nullptr);
  fields::only(config, "interleaved_sliding_window", nullptr);
  fields::read_rope(config, 16000000.0, a);
  return a;
}

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::pro_moe_v2, {.norm_eps = 1e-5});
  c.attention = read_attention(config);
  fields::read_pangu_layers(config, false, 1.0, c);
  fields::only(config, "scoring_func", "sigmoid");
  fields::only(config, "block_post_layernorm_idx", Json::array());
  return c;
}

void write(const ModelConfig& c, Json& out) {
  const AttentionConfig& a = c.attention;
  out["qk_nope_dim"] = a.qk_nope_dim;
  out["qk_rope_dim"] = a.qk_rope_dim;
  out["v_channels"] = a.v_dim;
  out["param_sink_number"] = a.sinks;
  out["param_sink_with_value"] = a.sink_values;
  fields::write_pangu_layers(c, out);
}

void build(Model& model) {
  model.add_layers({.k_norm = "k_layernorm.weight"});
}

}  // namespace

const Architecture kPanguProMoeV2{
    Family::pro_moe_v2, "PanguProMoEV2ForCausalLM", "PanguProMoE", read, write, build};

}  // namespace um
