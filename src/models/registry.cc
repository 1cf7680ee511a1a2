// Which file builds which family.
#include "models/model.h"

namespace um {

std::unique_ptr<Model> make_model(const ModelConfig& config, Device& device, DType weights) {
  auto model = std::make_unique<Model>(config, device, weights);
  switch (config.family) {
    case Family::ultra_moe:
      build_pangu_ultra_moe(*model);
      break;
    case Family::pro_moe:
      build_pangu_pro_moe(*model);
      break;
    case Family::embedded:
    case Family::llama:
      build_pangu_embedded(*model);
      break;
  }
  return model;
}

}  // namespace um
