// Qwen2 and Qwen2.5 (Qwen2ForCausalLM; arXiv 2407.10671, 2412.15115, docs/models.md): like Llama,
// with biases on q, k and v but not on o.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::qwen2);
  c.attention = fields::read_gqa(config, c.hidden, 10000.0, true);
  fields::only(config, "attention_bias", true);
  c.attention.o_bias = false;
  fields::read_dense_layers(config, c);
  return c;
}

void write(const ModelConfig& c, Json& out) {
  out["intermediate_size"] = c.dense_width;
  out["use_sliding_window"] = false;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kQwen2{Family::qwen2, "Qwen2ForCausalLM", "qwen2", read, write, build};

}  // namespace um
