// A checkpoint run layer by layer gives the same bits as the whole model, with one layer's matrices
// in memory.
#include "models/layer_walk.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "models/checkpoint.h"
#include "models/model_weights.h"
#include "ops/devices.h"
#include "ops/loss.h"
#include "ops/tape.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// A random model of the preset as a checkpoint, and as it is loaded from there.
class LayerWalkTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto model = random_model(GetParam());
    folder_ = fs::path(testing::TempDir()) /
              fmt::format("layer_walk_{}_{}_{}", ::getpid(), GetParam(),
                          testing::UnitTest::GetInstance()->current_test_info()->line());
    save_model(*model, folder_);
    config_ = model->config();
    whole_ = load_model(folder_, cpu_device());
    source_ = open_model_weights(folder_, config_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
  ModelConfig config_;
  std::unique_ptr<Model> whole_;
  WeightSource source_{""};
};

TEST_P(LayerWalkTest, GivesTheModelsBits) {
  const std::vector<Batch> batches = {random_batch({9, 11}, config_.vocab, 1),
                                      random_batch({31}, config_.vocab, 2)};
  Device device("walk", cpu_device().kernels());
  LayerWalk walk(config_, source_, device, batches);
  ASSERT_EQ(walk.layers(), config_.layers + config_.mtp_layers);
  for (int64_t layer = 0; layer < walk.layers(); ++layer) {
    walk.load();
    for (int64_t other = 0; other < walk.layers(); ++other)
      for (const Param* param : walk.matrices(other))
        EXPECT_EQ(param->weight().bytes() > 0, other == layer) << param->name;
    walk.run();
    walk.release();
  }

  for (size_t i = 0; i < batches.size(); ++i) {
    const Ragged rows = Ragged::full(cpu_device(), batches[i].seq_offsets);
    const Tensor tokens =
        Tensor::from(cpu_device(), {rows.rows}, std::span<const int32_t>(batches[i].tokens));
    EXPECT_EQ(walk.output(i).to_vector(), whole_->trunk(tokens, rows, {}).hidden.to_vector());
  }
  EXPECT_THROW(walk.load(), Error);
}

/// The gradients of every layer's matrices on the way back are those of the whole model's loss.
TEST_P(LayerWalkTest, GivesTheModelsGradients) {
  const std::vector<Batch> batches = {random_batch({9, 11}, config_.vocab, 1),
                                      random_batch({31}, config_.vocab, 2)};

  for (const Batch& batch : batches) {
    std::vector<int32_t> targets(batch.tokens.begin() + 1, batch.tokens.end());
    targets.push_back(-1);
    for (const int64_t end : batch.seq_offsets)
      if (end > 0) targets[static_cast<size_t>(end - 1)] = -1;
    const Ragged rows = Ragged::full(cpu_device(), batch.seq_offsets);
    const auto i32 = [&](const std::vector<int32_t>& ids) {
      return Tensor::from(cpu_device(), {rows.rows}, std::span<const int32_t>(ids));
    };
    const std::vector<float> ones(targets.size(), 1.0f);
    Tape tape;
    {
      const Tape::Recording recording(&tape);
      linear_cross_entropy(whole_->trunk(i32(batch.tokens), rows, {}).hidden, whole_->head(),
                           i32(targets),
                           Tensor::from(cpu_device(), {rows.rows}, std::span<const float>(ones)));
    }
    tape.backward();
  }

  LayerWalk walk(config_, source_, cpu_device(), batches, true);
  for (int64_t layer = 0; layer < walk.trunk_layers(); ++layer) {
    walk.load();
    walk.run();
    walk.release();
  }
  EXPECT_EQ(walk.turn(), 48);
  for (int64_t layer = walk.trunk_layers() - 1; layer >= 0; --layer) {
    walk.load();
    walk.run();
    size_t compared = 0;
    for (const Param* param : walk.matrices(layer)) {
      const Param* expected = whole_->params().find(param->name);
      ASSERT_EQ(param->slot.written, expected->slot.written) << param->name;
      if (!param->slot.written) continue;
      EXPECT_EQ(param->slot.grad.to_vector(), expected->slot.grad.to_vector()) << param->name;
      ++compared;
    }
    EXPECT_GE(compared, 4u);
    walk.release();
  }
  EXPECT_THROW(walk.load(), Error);
}

INSTANTIATE_TEST_SUITE_P(Presets, LayerWalkTest,
                         ::testing::Values("tiny-embedded", "tiny-ultra", "tiny-pro", "nano-ultra",
                                           "nano-openpangu2"),
                         preset_test_name);

}  // namespace
}  // namespace um
