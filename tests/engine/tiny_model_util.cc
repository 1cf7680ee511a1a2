// See tiny_model_util.h.
#include "tests/engine/tiny_model_util.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "core/rng.h"
#include "models/config.h"
#include "ops/devices.h"

namespace um {

std::string preset_test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::unique_ptr<Model> random_model(const std::string& preset, uint64_t seed) {
  ModelConfig config =
      read_config(std::filesystem::path(UM_SOURCE_DIR) / "configs" / preset / "config.json");
  config.init = InitRule::normal;
  config.initializer_range = 0.15;
  auto model = make_model(config, cpu_device());
  model->params().initialize(seed);
  return model;
}

std::vector<int32_t> random_ids(size_t count, int64_t vocab, uint64_t seed) {
  const RandomStream random(seed, 77);
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i)
    ids[i] = static_cast<int32_t>(random.bits(i) % static_cast<uint64_t>(vocab));
  return ids;
}

Batch random_batch(const std::vector<size_t>& lengths, int64_t vocab, uint64_t seed) {
  const std::vector<int32_t> ids =
      random_ids(std::accumulate(lengths.begin(), lengths.end(), size_t{0}), vocab, seed);
  Batch batch;
  for (const size_t length : lengths)
    add_sequence(batch, std::span(ids).subspan(batch.tokens.size(), length));
  return batch;
}

std::vector<float> full_logits(const Model& model, const std::vector<int32_t>& ids) {
  const std::vector<int64_t> offsets = {0, std::ssize(ids)};
  const Ragged rows = Ragged::full(model.device(), offsets);
  const Tensor tokens = Tensor::from(model.device(), {rows.rows}, std::span<const int32_t>(ids));
  return model.logits(model.trunk(tokens, rows, {}).hidden).to_vector();
}

}  // namespace um
