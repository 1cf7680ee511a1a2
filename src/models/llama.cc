// Llama 2 and 3 and what is built like them (LlamaForCausalLM; arXiv 2302.13971, 2407.21783;
// SmolLM2, docs/models.md): dense, pre-norm, GQA without biases unless `attention_bias` says so,
// Llama 3's own way of stretching rotary positions.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::llama);
  c.attention = fields::read_gqa(config, c.hidden, 10000.0, false);
  fields::read_dense_layers(config, c);
  return c;
}

void write(const ModelConfig& c, Json& out) {
  out["attention_bias"] = c.attention.qkv_bias;
  out["intermediate_size"] = c.dense_width;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kLlama{Family::llama, "LlamaForCausalLM", "llama", read, write, build};

}  // namespace um
