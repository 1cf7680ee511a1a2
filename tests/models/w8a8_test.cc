// Weights in int8 with a scale per row, multiplied with activations in int8: close to the f32
// model, a quarter of its memory, and the integers of a checkpoint that is stored so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/files.h"
#include "core/safetensors.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class W8A8Test : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    directory_ = fs::path(testing::TempDir()) / ("w8a8_" + name);
    fs::remove_all(directory_);
    model_ = random_model(GetParam());
    save_model(*model_, directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::unique_ptr<Model> load(std::optional<WeightTypes> weights, int64_t experts = -1) const {
    return load_model(directory_, cpu_device(), nullptr, weights, experts);
  }

  fs::path directory_;
  std::unique_ptr<Model> model_;
};

TEST_P(W8A8Test, LogitsAreCloseToThoseOfF32) {
  const std::vector<int32_t> ids = random_ids(60, model_->config().vocab);
  const std::vector<float> expected = full_logits(*model_, ids);
  const std::vector<float> found = full_logits(*load(DType::i8), ids);
  double error = 0, size = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    error += std::pow(double{found[i]} - expected[i], 2);
    size += std::pow(double{expected[i]}, 2);
  }
  EXPECT_GT(error, 0) << "nothing was rounded";
  EXPECT_LT(std::sqrt(error / size), 0.25) << "random weights amplify: a router's choice changes";
}

TEST_P(W8A8Test, MatricesTakeAByteAndRowsAScale) {
  const auto narrow = make_model(model_->config(), dry_device(), DType::i8);
  int64_t bytes = 0;
  for (const auto& param : narrow->params().all()) {
    const int64_t count = param->value.count();
    if (param->value.dtype() == DType::i8)
      bytes += count + 4 * param->value.rows();
    else
      bytes += count * static_cast<int64_t>(dtype_size(param->value.dtype()));
    const bool plain = param->value.shape().rank() == 1 || param->name.ends_with("mlp.gate.weight");
    const DType expected = plain                                       ? DType::f32
                           : param->name.ends_with("kv_b_proj.weight") ? DType::bf16
                                                                       : DType::i8;
    EXPECT_EQ(param->value.dtype(), expected) << param->name;
  }
  EXPECT_EQ(weight_bytes(model_->config(), DType::i8), bytes);
}

TEST_P(W8A8Test, EachValueIsWithinHalfAStep) {
  const auto narrow = load(DType::i8);
  for (const auto& param : narrow->params().all()) {
    if (param->value.dtype() != DType::i8) continue;
    const Tensor& wide = model_->params().find(param->name)->value;
    const float* scales = param->scales.f32();
    for (int64_t row = 0; row < wide.rows(); ++row)
      for (int64_t c = 0; c < wide.cols(); ++c) {
        const int64_t i = row * wide.cols() + c;
        ASSERT_NEAR(static_cast<float>(param->value.data<int8_t>()[i]) * scales[row], wide.f32()[i],
                    0.5001f * scales[row])
            << param->name;
      }
  }
}

TEST_P(W8A8Test, ExpertsOnDiskHaveTheSameBits) {
  const ModelConfig& config = model_->config();
  if (config.moe.experts == 0) GTEST_SKIP() << "no experts";
  const std::vector<int32_t> ids = random_ids(40, config.vocab);
  const std::vector<float> expected = full_logits(*load(DType::i8), ids);
  const int64_t one = ExpertCache::expert_bytes(kInt8Rows, config.hidden, config.moe.expert_width);
  const auto few = load(DType::i8, 3 * model_->moe_layers() * one);
  ASSERT_NE(few->params().expert_cache(), nullptr);
  EXPECT_EQ(full_logits(*few, ids), expected);
}

/// A checkpoint whose matrices are int8 with a scale per row (compressed-tensors' int-quantized,
/// ModelSlim's W8A8): the integers and scales of the file are computed in as they are.
TEST_P(W8A8Test, StoredIntegersAreKept) {
  const auto made = load(DType::i8);
  std::vector<TensorView> views;
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<int8_t>> integers;
  const auto add = [&](const std::string& name, DType dtype, std::vector<int64_t> shape,
                       const void* data, size_t bytes) {
    TensorView view;
    view.name = name;
    view.dtype = dtype;
    view.shape = std::move(shape);
    view.bytes = {static_cast<const std::byte*>(data), bytes};
    views.push_back(view);
  };
  const CheckpointReader reader(directory_);
  std::vector<std::string> kept;
  for (const auto& param : made->params().all())
    for (const Piece& piece : param->pieces) {
      const bool head = param->name == "lm_head.weight";
      if (param->value.dtype() != DType::i8 || head) {
        views.push_back(reader.at(piece.name));
        continue;
      }
      // -128 and scales that rounding would not choose.
      const auto count = static_cast<size_t>(piece.shape.count());
      const auto rows = static_cast<size_t>(piece.shape[0]);
      std::vector<int8_t>& q =
          integers.emplace_back(param->value.data<int8_t>() + piece.begin(param->value),
                                param->value.data<int8_t>() + piece.begin(param->value) + count);
      q[0] = -128;
      std::vector<float>& s = floats.emplace_back(param->scales.f32() + piece.row,
                                                  param->scales.f32() + piece.row + rows);
      for (float& scale : s) scale *= 1.25f;
      add(piece.name, DType::i8, {piece.shape[0], piece.shape[1]}, q.data(), q.size());
      const std::string base = piece.name.substr(0, piece.name.size() - 6);
      add(base + "weight_scale", DType::f32, {piece.shape[0], 1}, s.data(), 4 * s.size());
      kept.push_back(piece.name);
    }
  const fs::path stored = directory_ / "stored";
  fs::create_directories(stored);
  write_safetensors(stored / "model.safetensors", views);
  fs::copy_file(directory_ / "config.json", stored / "config.json");

  const auto model = load_model(stored, cpu_device(), nullptr, std::nullopt);
  EXPECT_EQ(model->params().weights_dtype(), DType::i8);
  size_t i = 0;
  for (const auto& param : model->params().all())
    for (const Piece& piece : param->pieces) {
      if (std::find(kept.begin(), kept.end(), piece.name) == kept.end()) continue;
      ASSERT_EQ(param->value.dtype(), DType::i8) << param->name;
      const int8_t* q = param->value.data<int8_t>() + piece.begin(param->value);
      ASSERT_TRUE(std::equal(integers[i].begin(), integers[i].end(), q)) << piece.name;
      ASSERT_TRUE(std::equal(floats[i].begin(), floats[i].end(), param->scales.f32() + piece.row));
      ++i;
    }
  EXPECT_EQ(i, kept.size());
  if (!model->config().tie_embeddings) {
    EXPECT_EQ(model->head().format.type, RowType::f32) << "as it is stored";
  }
}

TEST_P(W8A8Test, ItDoesNotTrain) {
  EXPECT_THROW(load(DType::i8)->params().all().front()->set_trainable(true), Error);
}

INSTANTIATE_TEST_SUITE_P(Presets, W8A8Test,
                         ::testing::Values("nano-ultra", "tiny-pro", "tiny-embedded",
                                           "nano-openpangu2"),
                         preset_test_name);

}  // namespace
}  // namespace um
