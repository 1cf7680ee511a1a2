// Weights in bf16: a model that keeps its matrices so computes, to the bit, what the f32 model with
// rounded matrices computes; it takes half the memory and does not train.
#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/registry.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "train/optimizer.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class Bf16Test : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ =
        fs::path(testing::TempDir()) /
        fmt::format("bf16_{}_{}", GetParam(), fs::path(test->name()).parent_path().string());
    fs::remove_all(directory_);
    model_ = random_model(GetParam());
    ids_ = random_ids(50, model_->config().vocab);
  }
  void TearDown() override { fs::remove_all(directory_); }

  /// The model on disk with all its tensors in `dtype`.
  void save(DType dtype) const {
    ModelConfig config = model_->config();
    config.dtype = dtype;
    const auto copy = make_model(config, cpu_device());
    for (size_t i = 0; i < copy->params().all().size(); ++i) {
      const Tensor &to = copy->params().all()[i]->value, &from = model_->params().all()[i]->value;
      std::copy_n(from.f32(), from.count(), to.f32());
    }
    save_model(*copy, directory_);
  }
  std::unique_ptr<Model> load(std::optional<WeightTypes> weights,
                              std::string_view kernels = "") const {
    Device& device = kernels.empty() ? cpu_device() : cpu_device(kernels);
    return load_model(directory_, device, nullptr, weights);
  }

  fs::path directory_;
  std::unique_ptr<Model> model_;
  std::vector<int32_t> ids_;
};

TEST_P(Bf16Test, LogitsAreThoseOfTheRoundedF32Model) {
  save(DType::bf16);
  const auto wide = load(DType::f32), narrow = load(DType::bf16);
  EXPECT_EQ(narrow->params().weights().matrices, kBf16Rows);
  const std::vector<float> expected = full_logits(*wide, ids_);
  EXPECT_EQ(full_logits(*narrow, ids_), expected);
  // The rounding is visible, so the comparison means something.
  EXPECT_NE(full_logits(*model_, ids_), expected);
}

TEST_P(Bf16Test, MatricesOfAnF32CheckpointAreRounded) {
  save(DType::f32);
  const auto narrow = load(DType::bf16), wide = load(DType::f32);
  for (size_t i = 0; i < wide->params().all().size(); ++i) {
    const Param& a = *narrow->params().all()[i];
    const Param& b = *wide->params().all()[i];
    if (a.value.dtype() == DType::f32) continue;
    EXPECT_GE(a.value.shape().rank(), 2) << a.name;
    for (int64_t j = 0; j < b.value.count(); ++j)
      b.value.f32()[j] = f32_from_bf16(bf16_from_f32(b.value.f32()[j]));
  }
  EXPECT_EQ(full_logits(*narrow, ids_), full_logits(*wide, ids_));
}

TEST_P(Bf16Test, NormsRoutersAndBiasesStayF32) {
  const auto narrow = make_model(model_->config(), dry_device(), DType::bf16);
  int64_t matrices = 0;
  for (const auto& param : narrow->params().all()) {
    const bool kept = param->shape.rank() == 1 || param->name.ends_with("mlp.gate.weight");
    EXPECT_EQ(param->value.dtype(), kept ? DType::f32 : DType::bf16) << param->name;
    if (!kept) matrices += param->value.count();
  }
  const int64_t all = narrow->params().count();
  EXPECT_GT(matrices, all / 2);
  EXPECT_EQ(weight_bytes(model_->config(), DType::bf16), 2 * matrices + 4 * (all - matrices));
  EXPECT_EQ(weight_bytes(model_->config(), DType::f32), 4 * all);
}

TEST_P(Bf16Test, AutoKeepsWhatIsStored) {
  save(DType::bf16);
  EXPECT_EQ(load(std::nullopt)->params().weights().matrices, kBf16Rows);
  save(DType::f32);
  EXPECT_EQ(load(std::nullopt)->params().weights().matrices, kF32Rows);
}

TEST_P(Bf16Test, ReferenceKernelsAgree) {
  save(DType::bf16);
  const std::vector<float> expected = full_logits(*load(DType::bf16, "ref"), ids_);
  const std::vector<float> found = full_logits(*load(DType::bf16), ids_);
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], 1e-3 * (1 + std::abs(expected[i])));
}

TEST_P(Bf16Test, SavesWhatItHolds) {
  save(DType::bf16);
  const auto narrow = load(DType::bf16);
  const std::vector<float> expected = full_logits(*narrow, ids_);
  save_model(*narrow, directory_);
  EXPECT_EQ(full_logits(*load(DType::f32), ids_), expected);
}

TEST_P(Bf16Test, DoesNotTrain) {
  save(DType::bf16);
  const auto narrow = load(DType::bf16);
  EXPECT_THROW(Optimizer(narrow->params(), AdamWOptions{}), Error);
  EXPECT_THROW(narrow->params().find("lm_head.weight") != nullptr
                   ? narrow->params().find("lm_head.weight")->set_trainable(true)
                   : narrow->params().find("model.embed_tokens.weight")->set_trainable(true),
               Error);
}

INSTANTIATE_TEST_SUITE_P(Presets, Bf16Test,
                         ::testing::Values("tiny-ultra", "tiny-pro", "tiny-embedded"),
                         preset_test_name);

}  // namespace
}  // namespace um
