// Pangu Ultra MoE (PanguUltraMoEForCausalLM; arXiv 2505.04519, openPangu-Ultra-MoE-718B): leading
// dense layers, then MoE layers with MLA, sandwich norms with depth-scaled gains, a sigmoid router
// with normalised top-k weights times a factor, shared experts, and MTP heads as further layers.
// Configs come in the V1.0 spelling or DeepSeek's (docs/models.md).
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
  fields::read_pangu_layers(config, true, 2.5, c);
  const std::string score = config.string_or("scoring_func", "sigmoid");
  if (score != "sigmoid" && score != "softmax") config.wrong("scoring_func", "sigmoid or softmax");
  c.moe.score = score == "sigmoid" ? RouterScore::sigmoid : RouterScore::softmax;
  return c;
}

void write(const ModelConfig& c, Json& out) {
  if (c.attention.is_mla()) {
    fields::write_mla(c.attention, out);
  } else {
    out["kv_lora_rank"] = 0;
    out["attention_bias"] = c.attention.qkv_bias;
  }
  fields::write_pangu_layers(c, out);
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kPanguUltraMoe{
    Family::ultra_moe, "PanguUltraMoEForCausalLM", "pangu_ultra_moe", read, write, build};

}  // namespace um
