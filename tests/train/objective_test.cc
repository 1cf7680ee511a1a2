// The objective's edges: targets of MTP heads, sequences of one token, frozen tied embeddings, and
// what `debug grads` reports.
#include "train/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "core/safetensors.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/train/corpus_util.h"
#include "train/debug.h"

namespace um {
namespace {

/// Sequences whose tokens count on, so that token + 1 is the next; `open`: the last has a target.
Batch counting(const std::vector<int64_t>& lengths, bool open) {
  Batch batch;
  batch.seq_offsets = {0};
  for (size_t s = 0; s < lengths.size(); ++s) {
    for (int64_t t = 0; t < lengths[s]; ++t) {
      const auto token = static_cast<int32_t>(100 * s + 10 + static_cast<size_t>(t));
      batch.tokens.push_back(token);
      batch.targets.push_back(open || t + 1 < lengths[s] ? token + 1 : -1);
      batch.positions.push_back(static_cast<int32_t>(t));
    }
    batch.seq_offsets.push_back(batch.size());
  }
  return batch;
}

std::unique_ptr<Model> small_model(const std::string& preset, bool tied = false) {
  ModelConfig config = read_config(std::filesystem::path(UM_SOURCE_DIR) / "configs" / preset);
  config.vocab = 512;
  config.tie_embeddings = tied;
  auto model = make_model(config, cpu_device());
  model->params().initialize(1);
  return model;
}

using Ids = std::vector<int32_t>;

TEST(MtpTargetsTest, HeadKLooksKPlusTwoAhead) {
  const Batch closed = counting({4, 1, 2}, false);
  EXPECT_EQ(mtp_tokens(closed, 0), (Ids{11, 12, 13, 0, 0, 211, 0}));
  EXPECT_EQ(mtp_targets(closed, 0), (Ids{12, 13, -1, -1, -1, -1, -1}));
  EXPECT_EQ(mtp_tokens(closed, 1), (Ids{12, 13, 0, 0, 0, 0, 0}));
  EXPECT_EQ(mtp_targets(closed, 1), (Ids{13, -1, -1, -1, -1, -1, -1}));
  const Batch open = counting({4, 1, 2}, true);
  EXPECT_EQ(mtp_tokens(open, 0), (Ids{11, 12, 13, 14, 111, 211, 212}));
  EXPECT_EQ(mtp_targets(open, 0), (Ids{12, 13, 14, -1, -1, 212, -1}));
  EXPECT_EQ(mtp_targets(open, 1), (Ids{13, 14, -1, -1, -1, -1, -1}));
}

TEST(ObjectiveTest, SequencesOfOneTokenHaveNoMtpTargets) {
  const auto model = small_model("nano-ultra");
  BalanceLoss balance(BalanceScope::sequence, 0.01, model->moe_layers(), model->moe_layers());
  for (const bool open : {true, false}) {
    const Batch batch = counting({1, 1, 1}, open);
    model->params().reset_grads();
    const StepLosses losses =
        StepObjective(*model, {&batch, 1}, {.mtp_weight = 0.3, .balance = &balance})
            .run_with_gradients();
    EXPECT_EQ(losses.mtp, std::vector<double>{0.0});
    EXPECT_EQ(losses.lm > 0, open);
    EXPECT_TRUE(std::isfinite(losses.balance));
    for (const auto& param : model->params().all()) {
      if (!param->slot.written) continue;
      for (const float value : param->slot.grad.to_vector())
        ASSERT_TRUE(std::isfinite(value)) << param->name;
    }
  }
}

TEST(ObjectiveTest, SequenceScopeDoesNotDependOnTheSplit) {
  const auto model = small_model("nano-ultra");
  const Batch whole = counting({5, 9, 2}, true), first = counting({5}, true);
  Batch rest = counting({5, 9, 2}, true);
  rest.tokens.erase(rest.tokens.begin(), rest.tokens.begin() + 5);
  rest.targets.erase(rest.targets.begin(), rest.targets.begin() + 5);
  rest.positions.erase(rest.positions.begin(), rest.positions.begin() + 5);
  rest.seq_offsets = {0, 9, 11};
  const auto run = [&](const std::vector<Batch>& batches) {
    BalanceLoss balance(BalanceScope::sequence, 10.0, model->moe_layers(), model->moe_layers());
    model->params().reset_grads();
    const StepLosses losses =
        StepObjective(*model, batches, {.mtp_weight = 0.3, .balance = &balance})
            .run_with_gradients();
    std::vector<float> grad =
        model->params().find("model.layers.1.mlp.gate.weight")->slot.grad.to_vector();
    grad.push_back(static_cast<float>(losses.balance));
    return grad;
  };
  const std::vector<float> once = run({whole}), split = run({first, rest});
  double scale = 0;
  for (const float value : once) scale = std::max(scale, std::fabs(static_cast<double>(value)));
  for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(once[i], split[i], 2e-5 * scale);
}

TEST(ObjectiveTest, AFrozenTiedEmbeddingChangesNoOtherGradient) {
  const auto model = small_model("tiny-embedded", true);
  const Batch batch = counting({7, 12}, true);
  const auto run = [&] {
    model->params().reset_grads();
    StepObjective(*model, {&batch, 1}, {}).run_with_gradients();
    std::vector<std::vector<float>> all;
    for (const auto& param : model->params().all())
      if (param->name != "model.embed_tokens.weight") all.push_back(param->slot.grad.to_vector());
    return all;
  };
  const auto trained = run();
  Param* embedding = model->params().find("model.embed_tokens.weight");
  EXPECT_TRUE(embedding->slot.written);
  embedding->set_trainable(false);
  EXPECT_EQ(run(), trained);
  EXPECT_FALSE(embedding->slot.written);
  EXPECT_EQ(model->params().find("lm_head.weight"), nullptr);
}

/// Whatever is frozen, the others' gradients keep their bits: every op without one of its
/// gradients.
TEST(ObjectiveTest, FreezingParametersChangesNoOtherGradient) {
  for (const char* preset : {"nano-ultra", "tiny-pro", "tiny-embedded", "nano-openpangu2"}) {
    const auto model = small_model(preset);
    const Batch batch = counting({7, 1, 12}, true);
    const auto gradients = [&] {
      BalanceLoss balance(BalanceScope::ep_group, 0.1, model->moe_layers(), model->moe_layers());
      model->params().reset_grads();
      StepObjective(*model, {&batch, 1}, {.mtp_weight = 0.3, .balance = &balance})
          .run_with_gradients();
      std::map<std::string, std::vector<float>> all;
      for (const auto& param : model->params().all())
        if (param->slot.written) all[param->name] = param->slot.grad.to_vector();
      return all;
    };
    const auto whole = gradients();
    const auto& params = model->params().all();
    for (size_t pattern = 0; pattern < 4; ++pattern) {
      for (size_t i = 0; i < params.size(); ++i) {
        const bool frozen =
            pattern < 2 ? i % 2 == pattern : (i < params.size() / 2) == (pattern == 2);
        if (!params[i]->buffer) params[i]->set_trainable(!frozen);
      }
      for (const auto& [name, values] : gradients()) {
        EXPECT_TRUE(model->params().find(name)->trainable) << name;
        EXPECT_EQ(values, whole.at(name)) << preset << " " << name << " pattern " << pattern;
      }
    }
  }
}

/// loss.mtp is what it is, whatever its weight in the total.
TEST(DebugTest, LossesDoNotDependOnTheirWeights) {
  const testing::TemporaryDirectory directory("debug_weights");
  const auto model = small_model("nano-ultra");
  const Sequences sequences{{1, 2, 3, 4, 5, 6}, {7}, {8, 9, 10}};
  const auto loss = [&](double mtp_weight, double balance_weight, const char* name) {
    const auto path = directory.path() / "out.safetensors";
    write_debug_grads(*model, sequences, mtp_weight, balance_weight, path);
    const SafetensorsFile file(path);
    float value = 0;
    std::memcpy(&value, file.find(name)->bytes.data(), sizeof(value));
    return value;
  };
  const float mtp = loss(0.3, 0.01, "loss.mtp"), balance = loss(0.3, 0.01, "loss.balance");
  EXPECT_GT(mtp, 1.0f);
  EXPECT_EQ(loss(0.0, 0.0, "loss.mtp"), mtp);
  EXPECT_EQ(loss(0.0, 0.0, "loss.balance"), balance);
  EXPECT_EQ(loss(0.0, 0.0, "loss.total"), loss(0.0, 0.0, "loss.lm"));
}

}  // namespace
}  // namespace um
