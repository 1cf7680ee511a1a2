// See expert_files.h.
#include "models/expert_files.h"

#include <algorithm>
#include <array>
#include <optional>

#include "models/checkpoint.h"
#include "models/count.h"
#include "ops/devices.h"

namespace um {
namespace {

constexpr double kShareOfMemory = 0.85;  // the rest is for the KV cache, activations and the system

int64_t moe_layers(const ModelConfig& config) {
  return config.layers - config.dense_layers + config.mtp_layers;
}

/// gate, up and down of one expert.
using ExpertWeights = std::array<StoredWeight, 3>;

/// Experts of all layers, and what they are read from.
struct ExpertFiles {
  WeightSource source;
  std::vector<std::vector<ExpertWeights>> layers;

  void load(int64_t layer, int64_t expert, const Rows& gate_up, const Rows& down) const {
    const auto& [gate, up, back] = layers[static_cast<size_t>(layer)][static_cast<size_t>(expert)];
    source.check_whole();
    read_weight(gate, gate_up, 0);
    read_weight(up, gate_up, gate_up.rows() / 2);
    read_weight(back, down, 0);
  }
};

bool is_experts(const Param& param) {
  return param.name.ends_with("experts.gate_up_proj") || param.name.ends_with("experts.down_proj");
}

/// The one format of all layers' experts; bf16 where a file has several.
RowFormat expert_format(const Model& model) {
  std::optional<RowFormat> format;
  for (const auto& param : model.params().all()) {
    if (!is_experts(*param)) continue;
    const RowFormat here = param->weight().format;
    if (format && *format != here) return kBf16Rows;
    format = here;
  }
  return format.value_or(kBf16Rows);
}

/// Memory of what every token uses.
int64_t bytes_of_others(const Model& model) {
  int64_t sum = 0;
  for (const auto& param : model.params().all())
    if (!is_experts(*param)) sum += param->weight().bytes();
  return sum;
}

}  // namespace

int64_t expert_bytes_of(double gigabytes) {
  if (gigabytes <= 0) return kExpertsThatFit;
  return static_cast<int64_t>(std::clamp(1e9 * gigabytes, 1.0, 1e15));
}

std::unique_ptr<ExpertCache> plan_experts(const ModelConfig& config, Device& device,
                                          const WeightTypes& weights, int64_t expert_bytes,
                                          const std::string& what) {
  if (config.moe.experts == 0 || expert_bytes == kAllExperts) return nullptr;
  const auto model = make_model(config, dry_device(), weights);
  const RowFormat format = expert_format(*model);
  const int64_t one = ExpertCache::expert_bytes(format, config.hidden, config.moe.expert_width);
  const int64_t layers = moe_layers(config), all = layers * config.moe.experts;
  const int64_t others = bytes_of_others(*model);
  const auto memory = static_cast<int64_t>(kShareOfMemory * static_cast<double>(memory_bytes()));
  int64_t room = expert_bytes;
  if (expert_bytes == kExpertsThatFit) {
    if (model->params().bytes() <= memory) return nullptr;
    room = memory - others;
  }
  const int64_t slots = std::min(room / one, all);
  const auto gigabytes = [](int64_t bytes) { return static_cast<double>(bytes) / 1e9; };
  UM_CHECK(
      slots >= layers && others + slots * one <= memory,
      "{}: needs {:.3f} GB for what every token uses and {:.3f} GB for one expert of each of {} "
      "layers; there are {:.3f} GB for experts, {:.1f} GB in all",
      what, gigabytes(others), gigabytes(layers * one), layers,
      gigabytes(std::max<int64_t>(room, 0)), gigabytes(memory));
  return std::make_unique<ExpertCache>(device, format, slots, config.hidden,
                                       config.moe.expert_width);
}

void connect_experts(Model& model, const WeightSource& source, std::set<std::string_view>& used) {
  ExpertCache* cache = model.params().expert_cache();
  if (cache == nullptr) return;
  const int64_t D = model.config().hidden, F = model.config().moe.expert_width;
  auto files = std::make_shared<ExpertFiles>(ExpertFiles{source, {}});
  for (size_t layer = 0; layer < cache->layers().size(); ++layer) {
    std::vector<ExpertWeights>& experts = files->layers.emplace_back();
    const int64_t count = cache->experts(static_cast<int64_t>(layer));
    for (int64_t e = 0; e < count; ++e) {
      const std::string prefix = fmt::format("{}{}.", cache->layers()[layer], e);
      const auto take = [&](const char* name, std::vector<int64_t> shape) {
        const auto found = source.tensors().find(prefix + name);
        const StoredWeight& stored = source.at(prefix + name);
        check_weight(stored, prefix + name, shape, source.where());
        used.insert(found->first);
        return stored;
      };
      experts.push_back({take("gate_proj.weight", {F, D}), take("up_proj.weight", {F, D}),
                         take("down_proj.weight", {D, F})});
    }
  }
  cache->set_load([files](int64_t layer, int64_t expert, const Rows& gate_up, const Rows& down) {
    files->load(layer, expert, gate_up, down);
  });
}

std::string describe_experts(const Model& model) {
  const ExpertCache* cache = model.params().expert_cache();
  if (cache == nullptr) return {};
  const ModelConfig& config = model.config();
  const int64_t one =
      ExpertCache::expert_bytes(cache->format(), config.hidden, config.moe.expert_width);
  return fmt::format("room for {} of {} routed experts, {:.2f} GB; the others stay on disk",
                     cache->slots(), moe_layers(config) * config.moe.experts,
                     static_cast<double>(cache->slots() * one) / 1e9);
}

}  // namespace um
