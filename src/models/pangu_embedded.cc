// Pangu Embedded (PanguEmbeddedForCausalLM; arXiv 2505.22375, openPangu-Embedded 1B and 7B): dense,
// pre-norm, GQA with biases on q, k, v and o. Llama is the same without biases.
#include "models/model.h"

namespace um {

void build_pangu_embedded(Model& model) {
  for (int64_t i = 0; i < model.config().layers; ++i)
    model.add_layer(fmt::format("model.layers.{}.", i), false);
}

}  // namespace um
