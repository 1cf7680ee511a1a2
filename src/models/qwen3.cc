// Qwen3, dense (Qwen3ForCausalLM; arXiv 2505.09388): like Llama, with an RMSNorm on each query and
// key head before the rotation.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::qwen3);
  c.attention = fields::read_gqa(config, c.hidden, 10000.0, false);
  c.attention.q_norm = c.attention.k_norm = true;
  fields::read_dense_layers(config, c);
  return c;
}

void write(const ModelConfig& c, Json& out) {
  out["attention_bias"] = c.attention.qkv_bias;
  out["intermediate_size"] = c.dense_width;
  out["use_sliding_window"] = false;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kQwen3{Family::qwen3, "Qwen3ForCausalLM", "qwen3", read, write, build};

}  // namespace um
