// More MTP heads: the new ones are copies, all else keeps its bits, frozen weights get no gradient.
#include "models/expand_mtp.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/config.h"
#include "ops/devices.h"

namespace um {
namespace {

std::unique_ptr<Model> one_head(const char* preset = "nano-ultra") {
  auto model = make_model(read_named_config(preset), cpu_device());
  model->params().initialize(5);
  return model;
}

std::string head(const Model& model, int64_t k) {
  return fmt::format("model.layers.{}.", model.config().layers + k);
}

class ExpandMtp : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Presets, ExpandMtp, ::testing::Values("nano-ultra", "nano-openpangu2"));

TEST_P(ExpandMtp, CopiesTheFirstHeadAndKeepsAllElse) {
  const auto model = one_head(GetParam());
  const auto grown = expand_mtp(*model, 3, HeadInit::copy, 1);
  EXPECT_EQ(grown->mtp_heads(), 3);
  size_t copies = 0;
  for (const auto& param : grown->params().all()) {
    std::string name = param->name;
    for (const int64_t k : {1, 2})
      if (name.starts_with(head(*model, k))) {
        name = head(*model, 0) + name.substr(head(*model, k).size());
        ++copies;
      }
    const Param* source = model->params().find(name);
    ASSERT_NE(source, nullptr) << name;
    EXPECT_EQ(param->value.to_vector(), source->value.to_vector()) << param->name;
  }
  EXPECT_EQ(copies, grown->params().all().size() - model->params().all().size());
  EXPECT_GT(copies, 10u);
  const ModelConfig& config = grown->config();
  EXPECT_EQ(load_config(config_to_json(config), "grown"), config);
  EXPECT_EQ(config.attention.window(config.layers + 2), config.attention.window(config.layers));
}

TEST(ExpandMtpHeads, RandomHeadsLeaveTheRest) {
  const auto model = one_head();
  const auto grown = expand_mtp(*model, 2, HeadInit::random, 9);
  const std::string gate = "mlp.gate.weight";
  EXPECT_NE(grown->params().find(head(*model, 1) + gate)->value.to_vector(),
            model->params().find(head(*model, 0) + gate)->value.to_vector());
  EXPECT_EQ(grown->params().find(head(*model, 0) + gate)->value.to_vector(),
            model->params().find(head(*model, 0) + gate)->value.to_vector());
}

TEST(ExpandMtpHeads, RefusesWhatMakesNoSense) {
  const auto model = one_head();
  EXPECT_THROW(expand_mtp(*model, 1, HeadInit::copy, 1), Error);
  auto embedded = make_model(read_named_config("tiny-embedded"), cpu_device());
  EXPECT_THROW(expand_mtp(*embedded, 2, HeadInit::copy, 1), Error);
}

TEST(FreezeTrunk, LeavesOnlyTheNewHeads) {
  const auto model = expand_mtp(*one_head(), 2, HeadInit::copy, 1);
  freeze_trunk(*model, 1);
  for (const auto& param : model->params().all())
    EXPECT_EQ(param->trainable, param->name.starts_with(head(*model, 1))) << param->name;
}

}  // namespace
}  // namespace um
