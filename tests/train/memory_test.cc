// The memory of a step is known before it: the prediction is what a real step takes, to the byte.
#include "train/memory.h"

#include <gtest/gtest.h>

#include "core/units.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/train/corpus_util.h"
#include "train/trainer.h"

namespace um {
namespace {

class PredictedMemoryTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new testing::TemporaryDirectory("memory");
    data_ = testing::make_corpus(directory_->path());
  }
  static void TearDownTestSuite() { delete directory_; }

  static testing::TemporaryDirectory* directory_;
  static std::filesystem::path data_;
};
testing::TemporaryDirectory* PredictedMemoryTest::directory_ = nullptr;
std::filesystem::path PredictedMemoryTest::data_;

TEST_F(PredictedMemoryTest, IsWhatStepsTakeSlow) {
  int run = 0;
  for (const char* preset : {"nano-ultra", "tiny-pro", "tiny-embedded", "nano-openpangu2"})
    for (const bool recompute : {false, true})
      for (const int64_t accumulate : {1, 3}) {
        RunOptions options = testing::small_run(data_, 3);
        options.model.preset = preset;
        options.train.recompute = recompute;
        options.train.accumulate = accumulate;
        options.train.warmup = 1;
        options.log.tensorboard = false;
        options.log.rms_every = 0;
        Device device("cpu", cpu_device().kernels());
        Trainer trainer(pretraining(options), options, directory_->path() / std::to_string(run++),
                        device, false, {});
        trainer.run();
        const auto peak = static_cast<double>(device.allocator().peak_bytes());
        // Real batches have more sequences: their offsets take a little more, attention sinks
        // (which each sequence has its own copy of) some percent.
        const bool sinks = trainer.model().config().attention.sinks > 0;
        EXPECT_GE(peak, trainer.memory().total()) << preset;
        EXPECT_LE(peak, (sinks ? 1.1 : 1.01) * trainer.memory().total())
            << preset << " " << bytes_text(peak) << ", " << trainer.memory().text();
      }
}

/// What is frozen costs neither gradients nor moments.
TEST_F(PredictedMemoryTest, FrozenParametersHaveNoStates) {
  RunOptions options = testing::small_run(data_, 2);
  options.train.warmup = 1;
  options.log.tensorboard = false;
  options.log.rms_every = 0;
  double whole = 0;
  for (const char* freeze : {"none", "trunk"}) {
    options.train.freeze = freeze;
    Device device("cpu", cpu_device().kernels());
    Trainer trainer(pretraining(options), options, directory_->path() / freeze, device, false, {});
    const TrainingMemory& memory = trainer.memory();
    EXPECT_EQ(static_cast<double>(device.allocator().used_bytes()),
              memory.weights + memory.optimizer);
    trainer.run();
    const auto peak = static_cast<double>(device.allocator().peak_bytes());
    EXPECT_GE(peak, memory.total()) << freeze;
    EXPECT_LE(peak, 1.01 * memory.total()) << freeze << " " << memory.text();
    if (whole == 0) whole = memory.optimizer;
  }
  options.train.freeze = "trunk";
  const TrainingMemory frozen =
      check_memory(configure_model(options.model), options.train, plan_phases(options.train, 2),
                   NextTokenObjective({.mtp_weight = options.train.mtp_weight}));
  EXPECT_LT(frozen.optimizer, 0.6 * whole);
  EXPECT_GT(frozen.optimizer, 0);
}

TEST_F(PredictedMemoryTest, SaysWhatToChange) {
  const ModelConfig config = read_named_config("tiny-ultra");
  TrainOptions options;
  const auto error = [&] {
    try {
      check_memory(config, options, plan_phases(options, 10), NextTokenObjective({}));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(error(), "");
  options.batch = 4096;
  options.seq_len = 2048;
  EXPECT_NE(error().find("(4,096 sequences of 2,048 tokens)"), std::string::npos) << error();
  EXPECT_NE(error().find("or set train.recompute"), std::string::npos) << error();
  options.recompute = true;
  options.accumulate = 4;
  EXPECT_EQ(error().find("or set train.recompute"), std::string::npos) << error();
  EXPECT_NE(error().find("train.balance to micro_batch"), std::string::npos) << error();
  options = {};
  options.batch = 1'000'000;  // nothing of this size is made
  options.seq_len = 1 << 20;
  EXPECT_NE(error().find("needs more than "), std::string::npos) << error();
  options = {};
  options.phases.push_back({.steps = 1, .batch = 4096, .seq_len = 2048});
  EXPECT_NE(error().find("(4,096 sequences"), std::string::npos) << error();
}

}  // namespace
}  // namespace um
