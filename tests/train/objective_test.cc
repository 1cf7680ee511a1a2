// The objective's edges: weights of targets, totals from outside, sequences of one token, frozen
// tied embeddings, and what `debug grads` reports.
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

using Gradients = std::map<std::string, std::vector<float>>;

/// Adds the gradients that a step leaves to `sum`.
StepLosses add_gradients(Model& model, const std::vector<Batch>& batches, double mtp_weight,
                         const StepTotals* totals, Gradients& sum) {
  model.params().reset_grads();
  const StepLosses losses = NextTokenObjective({.mtp_weight = mtp_weight})
                                .run(model, batches, {.gradients = true, .totals = totals});
  for (const auto& param : model.params().all()) {
    std::vector<float>& all = sum[param->name];
    all.resize(static_cast<size_t>(param->value.count()));
    if (!param->slot.written) continue;
    const std::vector<float> some = param->slot.grad.to_vector();
    for (size_t i = 0; i < all.size(); ++i) all[i] += some[i];
  }
  return losses;
}

void expect_near(const Gradients& one, const Gradients& other) {
  for (const auto& [name, values] : one) {
    double scale = 1e-6;
    for (const float value : values) scale = std::max(scale, std::fabs(static_cast<double>(value)));
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(values[i], other.at(name)[i], 3e-5 * scale) << name << " " << i;
  }
}

TEST(ObjectiveTest, WeightsOfOneHaveTheBitsOfNone) {
  const auto model = small_model("nano-ultra");
  Batch batch = counting({7, 1, 12}, true);
  batch.targets[3] = -1;
  Gradients without, with;
  const StepLosses plain = add_gradients(*model, {batch}, 0.3, nullptr, without);
  batch.weights.assign(batch.tokens.size(), 1.0f);
  const StepLosses weighted = add_gradients(*model, {batch}, 0.3, nullptr, with);
  EXPECT_EQ(plain.lm, weighted.lm);
  EXPECT_EQ(plain.mtp, weighted.mtp);
  EXPECT_EQ(plain.accuracy, weighted.accuracy);
  EXPECT_EQ(without, with);
}

/// The mean by weights is put together from single targets, each a loss of its own.
TEST(ObjectiveTest, WeightsWeighTheirTargets) {
  const auto model = small_model("nano-ultra");
  Batch batch = counting({4, 3}, true);
  batch.weights = {2, 0, 0.5f, 1, 3, 0.25f, 1.5f};
  batch.targets[3] = -1;  // its weight counts nowhere
  const double total = 2 + 0.5 + 3 + 0.25 + 1.5;
  Gradients weighted, put_together;
  const StepLosses losses = add_gradients(*model, {batch}, 0, nullptr, weighted);
  double sum = 0;
  for (size_t t = 0; t < batch.tokens.size(); ++t) {
    Batch one = counting({4, 3}, true);
    for (size_t other = 0; other < one.targets.size(); ++other)
      if (other != t || batch.targets[t] < 0) one.targets[other] = -1;
    const StepTotals totals{.tokens = 7, .targets = total / batch.weights[t]};
    if (batch.weights[t] > 0) sum += add_gradients(*model, {one}, 0, &totals, put_together).lm;
  }
  EXPECT_NEAR(losses.lm, sum, 1e-6);
  expect_near(weighted, put_together);
}

/// MTP head k's target at row t is the token of row t+k+1, and so is its weight.
TEST(ObjectiveTest, WeightsGoWithTheirTargetsToTheHeads) {
  const auto model = small_model("nano-ultra");
  Batch masked = counting({6}, true), weighted = masked;
  masked.targets = {-1, -1, 13, -1, 15, -1};
  weighted.weights = {0, 0, 1, 0, 1, 0};
  Gradients by_mask, by_weight;
  const StepLosses one = add_gradients(*model, {masked}, 0.3, nullptr, by_mask);
  const StepLosses other = add_gradients(*model, {weighted}, 0.3, nullptr, by_weight);
  EXPECT_NEAR(one.lm, other.lm, 1e-6);
  ASSERT_EQ(one.mtp.size(), 1u);
  EXPECT_NEAR(one.mtp[0], other.mtp[0], 1e-6);
  expect_near(by_mask, by_weight);
}

/// Two ranks with the totals of both, and micro-batches whose masks differ: what they give adds up
/// to one step of all, which a mean of means would not.
TEST(ObjectiveTest, TotalsComeFromAllRanks) {
  const auto model = small_model("nano-ultra");
  Batch first = counting({9}, true), second = counting({3, 5}, true);
  for (size_t t = 0; t < 6; ++t) first.targets[t] = -1;
  const std::vector<Batch> both = {first, second};
  const StepTotals totals = step_totals(both, 1);
  EXPECT_EQ(totals.tokens, 17);
  EXPECT_EQ(totals.targets, 11);
  EXPECT_EQ(totals.mtp_targets, std::vector<double>{3 + 2 + 4});
  Gradients together, by_rank, alone;
  const StepLosses all = add_gradients(*model, both, 0.3, nullptr, together);
  const StepLosses a = add_gradients(*model, {first}, 0.3, &totals, by_rank);
  const StepLosses b = add_gradients(*model, {second}, 0.3, &totals, by_rank);
  EXPECT_NEAR(all.lm, a.lm + b.lm, 1e-6);
  EXPECT_NEAR(all.mtp[0], a.mtp[0] + b.mtp[0], 1e-6);
  expect_near(together, by_rank);
  const double mean_of_means = (add_gradients(*model, {first}, 0.3, nullptr, alone).lm +
                                add_gradients(*model, {second}, 0.3, nullptr, alone).lm) /
                               2;
  EXPECT_GT(std::fabs(mean_of_means - all.lm), 1e-4);
}

TEST(ObjectiveTest, WeightsOfEitherSignNeedTotals) {
  const auto model = small_model("nano-ultra");
  Batch batch = counting({4}, true);
  batch.weights = {1, -1, 0.5f, -0.5f};
  Gradients up, down;
  EXPECT_THROW(add_gradients(*model, {batch}, 0, nullptr, up), Error);
  const StepTotals totals{.tokens = 4, .targets = 4};
  const StepLosses losses = add_gradients(*model, {batch}, 0, &totals, up);
  for (float& weight : batch.weights) weight = -weight;
  EXPECT_EQ(add_gradients(*model, {batch}, 0, &totals, down).lm, -losses.lm);
  for (const auto& [name, values] : up)
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], -down[name][i]) << name;
  const StepTotals wrong{.tokens = 4, .targets = 4, .mtp_targets = {1, 1}};
  EXPECT_THROW(add_gradients(*model, {batch}, 0.3, &wrong, up), Error);
}

TEST(ObjectiveTest, SequencesOfOneTokenHaveNoMtpTargets) {
  const auto model = small_model("nano-ultra");
  BalanceLoss balance(BalanceScope::sequence, 0.01, model->moe_layers(), model->moe_layers());
  for (const bool open : {true, false}) {
    const Batch batch = counting({1, 1, 1}, open);
    model->params().reset_grads();
    const StepLosses losses =
        NextTokenObjective({.mtp_weight = 0.3})
            .run(*model, {&batch, 1}, {.gradients = true, .balance = &balance});
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
    const StepLosses losses = NextTokenObjective({.mtp_weight = 0.3})
                                  .run(*model, batches, {.gradients = true, .balance = &balance});
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
    NextTokenObjective({}).run(*model, {&batch, 1}, {.gradients = true});
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
      NextTokenObjective({.mtp_weight = 0.3})
          .run(*model, {&batch, 1}, {.gradients = true, .balance = &balance});
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
