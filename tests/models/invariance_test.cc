// What must not change a result: company in the batch, splitting a step into micro-batches,
// recomputation.
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "kernels/registry.h"
#include "models/config.h"
#include "models/device_batch.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "train/objective.h"

namespace um {
namespace {

class InvarianceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    config_ = read_config(std::filesystem::path(UM_SOURCE_DIR) / "configs" / GetParam());
    config_.vocab = 300;
    config_.init = InitRule::normal;
    config_.initializer_range = 0.1;
    model_ = make_model(config_, cpu_device());
    model_->params().initialize(3);
  }

  /// Full sequences of these lengths with random tokens.
  Batch batch(const std::vector<int64_t>& lengths, uint64_t seed) const {
    const RandomStream random(seed, 0);
    Batch out;
    out.seq_offsets = {0};
    for (const int64_t length : lengths) {
      for (int64_t t = 0; t < length; ++t) {
        const auto i = static_cast<uint64_t>(out.size());
        out.tokens.push_back(static_cast<int32_t>(random.bits(i) % 300));
        out.positions.push_back(static_cast<int32_t>(t));
      }
      out.seq_offsets.push_back(out.size());
    }
    for (size_t t = 0; t < out.tokens.size(); ++t) {
      const bool last = std::find(out.seq_offsets.begin(), out.seq_offsets.end(),
                                  static_cast<int64_t>(t + 1)) != out.seq_offsets.end();
      out.targets.push_back(last ? -1 : out.tokens[t + 1]);
    }
    return out;
  }

  std::vector<float> logits(const Batch& batch) const {
    const DeviceBatch on_device(*model_, batch);
    return model_->logits(model_->trunk(on_device.tokens(), on_device.rows(), {}).hidden)
        .to_vector();
  }

  std::vector<std::vector<float>> gradients(std::span<const Batch> batches, bool recompute,
                                            BalanceScope scope = BalanceScope::ep_group) {
    BalanceLoss balance(scope, 0.1, model_->moe_layers(), model_->moe_layers());
    model_->params().reset_grads();
    losses_ = NextTokenObjective({.mtp_weight = 0.3, .z_weight = 1e-3})
                  .run(*model_, batches,
                       {.gradients = true, .recompute = recompute, .balance = &balance});
    std::vector<std::vector<float>> all;
    for (const auto& param : model_->params().all())
      all.push_back(param->slot.written
                        ? param->slot.grad.to_vector()
                        : std::vector<float>(static_cast<size_t>(param->value.count())));
    return all;
  }

  ModelConfig config_;
  std::unique_ptr<Model> model_;
  StepLosses losses_;
};

Batch part(const Batch& whole, int64_t begin, int64_t end) {
  Batch out;
  const auto from = static_cast<size_t>(whole.seq_offsets[static_cast<size_t>(begin)]);
  const auto to = static_cast<size_t>(whole.seq_offsets[static_cast<size_t>(end)]);
  out.tokens.assign(whole.tokens.begin() + static_cast<std::ptrdiff_t>(from),
                    whole.tokens.begin() + static_cast<std::ptrdiff_t>(to));
  out.targets.assign(whole.targets.begin() + static_cast<std::ptrdiff_t>(from),
                     whole.targets.begin() + static_cast<std::ptrdiff_t>(to));
  out.positions.assign(whole.positions.begin() + static_cast<std::ptrdiff_t>(from),
                       whole.positions.begin() + static_cast<std::ptrdiff_t>(to));
  for (int64_t s = begin; s <= end; ++s)
    out.seq_offsets.push_back(whole.seq_offsets[static_cast<size_t>(s)] -
                              static_cast<int64_t>(from));
  return out;
}

TEST_P(InvarianceTest, PackedDocumentsAreAlone) {
  const Batch packed = batch({5, 1, 70, 33, 2}, 1);
  const std::vector<float> together = logits(packed);
  for (int64_t s = 0; s < packed.sequences(); ++s) {
    const std::vector<float> alone = logits(part(packed, s, s + 1));
    const auto begin =
        together.begin() + packed.seq_offsets[static_cast<size_t>(s)] * config_.vocab;
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), begin)) << "sequence " << s;
  }
}

TEST_P(InvarianceTest, RecomputationIsBitEqual) {
  const Batch one = batch({40, 17, 64}, 2);
  EXPECT_EQ(gradients({&one, 1}, false), gradients({&one, 1}, true));
}

TEST_P(InvarianceTest, SameBitsTwice) {
  const Batch one = batch({40, 17, 64}, 2);
  EXPECT_EQ(gradients({&one, 1}, false), gradients({&one, 1}, false));
}

/// The mean over the step, and with ep_group the balance loss too, do not depend on how it is
/// split.
TEST_P(InvarianceTest, MicroBatchesAreOneBatch) {
  const Batch whole = batch({30, 9, 21, 44}, 4);
  const std::vector<Batch> parts = {part(whole, 0, 1), part(whole, 1, 3), part(whole, 3, 4)};
  const auto expected = gradients({&whole, 1}, false);
  const StepLosses once = losses_;
  const auto split = gradients(parts, false);
  EXPECT_NEAR(losses_.lm, once.lm, 1e-5);
  EXPECT_NEAR(losses_.balance, once.balance, 1e-6);
  for (size_t p = 0; p < expected.size(); ++p) {
    double worst = 0, scale = 1e-8;
    for (size_t i = 0; i < expected[p].size(); ++i) {
      worst = std::max(worst, std::fabs(static_cast<double>(expected[p][i] - split[p][i])));
      scale = std::max(scale, std::fabs(static_cast<double>(expected[p][i])));
    }
    EXPECT_LT(worst / scale, 2e-5) << model_->params().all()[p]->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Presets, InvarianceTest,
                         ::testing::Values("nano-ultra", "tiny-pro", "tiny-embedded",
                                           "nano-openpangu2"),
                         preset_test_name);

}  // namespace
}  // namespace um
