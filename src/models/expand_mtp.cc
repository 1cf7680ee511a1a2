// See expand_mtp.h.
#include "models/expand_mtp.h"

#include <algorithm>
#include <string>

namespace um {
namespace {

/// Names of a head's parameters begin with this; heads lie behind the trunk's layers.
std::string head_prefix(const ModelConfig& config, int64_t head) {
  return fmt::format("model.layers.{}.", config.layers + head);
}

void copy_values(const Param& from, Param& to) {
  UM_CHECK(from.value.shape() == to.value.shape(), "{}: {} does not fit {}", to.name,
           from.value.shape().text(), to.value.shape().text());
  const float* values = from.value.f32();
  std::copy(values, values + from.value.count(), to.value.f32());
}

}  // namespace

std::unique_ptr<Model> expand_mtp(const Model& model, int64_t heads, HeadInit init, uint64_t seed) {
  ModelConfig config = model.config();
  const int64_t have = model.mtp_heads();
  UM_CHECK(have > 0, "the model has no MTP head to copy: train it with one first");
  UM_CHECK(heads > have, "the model has {} MTP heads already, asked for {}", have, heads);
  config.mtp_layers = heads;
  std::vector<int64_t>& windows = config.attention.windows;
  if (!windows.empty())
    windows.resize(static_cast<size_t>(config.layers + heads),
                   config.attention.window(config.layers));
  auto grown = make_model(config, model.device());
  if (init == HeadInit::random) grown->params().initialize(seed);
  for (const auto& param : grown->params().all()) {
    const Param* source = model.params().find(param->name);
    for (int64_t k = have; k < heads && source == nullptr && init == HeadInit::copy; ++k) {
      const std::string prefix = head_prefix(config, k);
      if (param->name.starts_with(prefix))
        source = model.params().find(head_prefix(config, 0) + param->name.substr(prefix.size()));
    }
    UM_CHECK(source != nullptr || init == HeadInit::random, "{}: not in the first head",
             param->name);
    if (source != nullptr) copy_values(*source, *param);
  }
  return grown;
}

void freeze_trunk(Model& model, int64_t frozen_heads) {
  const ModelConfig& config = model.config();
  for (const auto& param : model.params().all()) {
    bool trains = false;
    for (int64_t k = frozen_heads; k < model.mtp_heads(); ++k)
      trains = trains || param->name.starts_with(head_prefix(config, k));
    if (!trains) param->set_trainable(false);
  }
}

}  // namespace um
