// The architectures that the program runs; each is a file of its own.
#include <array>

#include "models/architecture.h"
#include "models/config.h"

namespace um {
namespace {

constexpr std::array kArchitectures{
    &kPanguUltraMoe,  //
    &kPanguProMoe,    //
    &kPanguEmbedded,  //
    &kLlama,          //
    &kQwen2,          //
    &kQwen3,          //
    &kQwen3Moe,       //
    &kDeepseekV2,     //
    &kDeepseekV3,     //
    &kPanguProMoeV2,  //
    &kOpenpanguV2,    //
};

}  // namespace

std::span<const Architecture* const> architectures() {
  return kArchitectures;
}

const Architecture& architecture(Family family) {
  return *kArchitectures[static_cast<size_t>(family)];
}

std::string_view architecture_name(Family family) {
  return architecture(family).name;
}

std::unique_ptr<Model> make_model(const ModelConfig& config, Device& device, WeightTypes weights,
                                  std::unique_ptr<ExpertCache> experts, ParamMemory memory) {
  auto model =
      std::make_unique<Model>(config, device, std::move(weights), std::move(experts), memory);
  architecture(config.family).build(*model);
  return model;
}

}  // namespace um
