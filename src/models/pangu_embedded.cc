// Pangu Embedded (PanguEmbeddedForCausalLM; arXiv 2505.22375, openPangu-Embedded 1B and 7B,
// docs/models.md): dense, pre-norm, GQA with biases on q, k, v and o unless `bias` is false.
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::embedded, {.norm_eps = 1e-5});
  c.attention = fields::read_gqa(config, c.hidden, 16000000.0, true);
  fields::read_dense_layers(config, c);
  return c;
}

void write(const ModelConfig& c, Json& out) {
  out["bias"] = c.attention.qkv_bias;
  out["intermediate_size"] = c.dense_width;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kPanguEmbedded{
    Family::embedded, "PanguEmbeddedForCausalLM", "PanguEmbedded", read, write, build};

}  // namespace um
