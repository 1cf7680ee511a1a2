// DSSN and TinyInit at initialisation: closed-form answers (docs/dssn.md).
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "models/config.h"
#include "models/model.h"
#include "ops/devices.h"

namespace um {
namespace {

/// A deep model of dense layers with MLA. eps is made negligible: the law assumes branches of unit
/// RMS before the post gain (at full size the published eps is not negligible).
ModelConfig deep_config(int64_t layers, bool depth_scaled) {
  ModelConfig config = read_config(std::filesystem::path(UM_SOURCE_DIR) / "configs" / "tiny-ultra");
  config.layers = config.dense_layers = layers;
  config.mtp_layers = 0;
  config.vocab = 64;
  config.norm_eps = 1e-20;
  config.hidden = 128;
  config.embedding_init_std = 0.5;
  if (!depth_scaled) config.c_attn = config.c_mlp = std::sqrt(static_cast<double>(layers));
  return config;
}

double final_mean_square(const ModelConfig& config) {
  const auto model = make_model(config, cpu_device());
  model->params().initialize(1);
  const RandomStream random(9, 0);
  std::vector<int32_t> tokens(32);
  for (size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<int32_t>(random.bits(t) % 64);
  std::vector<int64_t> offsets(tokens.size() + 1);  // alone, so that attention does not average
  for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<int64_t>(i);
  std::vector<Tensor> states;
  model->trunk(Tensor::from(model->device(), {32}, std::span<const int32_t>(tokens)),
               Ragged::full(model->device(), offsets), {.states = &states});
  double squares = 0;
  for (const float value : states.back().to_vector())
    squares += static_cast<double>(value) * static_cast<double>(value);
  return squares / static_cast<double>(states.back().count());
}

TEST(Initialisation, ResidualLawOfDepthScaledSandwich) {
  for (const int64_t layers : {8, 32, 94}) {
    const ModelConfig config = deep_config(layers, true);
    const double r0 = config.embedding_init_std;
    const double law = r0 * r0 + config.c_attn * config.c_attn + config.c_mlp * config.c_mlp;
    EXPECT_NEAR(final_mean_square(config), law, 0.06 * law) << layers << " layers";
  }
}

/// The same stream with gains of 1 grows with depth: the law above is not an accident.
TEST(Initialisation, PlainSandwichGrows) {
  for (const int64_t layers : {8, 32}) {
    const double law = 0.25 + 2.0 * static_cast<double>(layers);
    EXPECT_NEAR(final_mean_square(deep_config(layers, false)), law, 0.12 * law);
  }
}

TEST(Initialisation, TinyInitSampleStd) {
  for (const int64_t layers : {2, 12}) {
    ModelConfig config = deep_config(layers, true);
    config.hidden = layers == 2 ? 96 : 160;
    const double sigma =
        std::sqrt(1.0 / (2.0 * static_cast<double>(config.hidden) * static_cast<double>(layers)));
    EXPECT_DOUBLE_EQ(config.weight_init_std(), sigma);
    const auto model = make_model(config, cpu_device());
    model->params().initialize(17);
    int checked = 0, outside = 0;
    for (const auto& param : model->params().all()) {
      if (!param->decay || param->value.count() < 1000) continue;
      const double expected = param->name == "model.embed_tokens.weight" ? 0.5 : sigma;
      double squares = 0;
      for (const float value : param->value.to_vector())
        squares += static_cast<double>(value) * static_cast<double>(value);
      const auto n = static_cast<double>(param->value.count());
      const double error = std::fabs(std::sqrt(squares / n) - expected);
      outside += error > 3.0 * expected / std::sqrt(2.0 * n);
      ++checked;
    }
    EXPECT_GT(checked, 10);
    EXPECT_LE(outside, checked / 50);  // 3 standard errors: 0.27% of draws by chance
  }
}

}  // namespace
}  // namespace um
