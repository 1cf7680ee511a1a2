// Pangu Ultra MoE (PanguUltraMoEForCausalLM; arXiv 2505.04519, openPangu-Ultra-MoE-718B): leading
// dense layers, then MoE layers with MLA, sandwich norms with depth-scaled gains, a sigmoid router
// with normalised top-k weights times a factor, shared experts, and MTP heads as further layers.
#include "models/model.h"

namespace um {

void build_pangu_ultra_moe(Model& model) {
  const ModelConfig& config = model.config();
  for (int64_t i = 0; i < config.layers; ++i)
    model.add_layer(fmt::format("model.layers.{}.", i), config.is_moe_layer(i));
  for (int64_t k = 0; k < config.mtp_layers; ++k)
    model.add_mtp(fmt::format("model.layers.{}.", config.layers + k));
}

}  // namespace um
