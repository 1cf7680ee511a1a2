// Pangu Pro MoE (PanguProMoEForCausalLM; arXiv 2505.21411): every layer is a mixture of grouped
// experts (MoGE: the same number of experts from each group, softmax over all, a learned
// router_scale, no renormalisation) with one joint shared expert; pre-norm, GQA with biases.
#include "models/model.h"

namespace um {

void build_pangu_pro_moe(Model& model) {
  const ModelConfig& config = model.config();
  const MoeNames names{.shared = "shared_expert."};
  for (int64_t i = 0; i < config.layers; ++i)
    model.add_layer(fmt::format("model.layers.{}.", i), config.is_moe_layer(i), names);
}

}  // namespace um
