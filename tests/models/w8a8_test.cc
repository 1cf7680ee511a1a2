// Weights in integers of 8 and 4 bits, multiplied with activations in int8: close to the f32 model,
// a quarter or an eighth of its memory, and the integers of a checkpoint that is stored so.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>

#include "core/files.h"
#include "core/safetensors.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/kernels/rows_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr RowFormat kByRows{RowType::panel8, kWholeRow};

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

TEST_P(W8A8Test, MatricesTakeAByteAndGroupsAScale) {
  const auto narrow = make_model(model_->config(), dry_device(), DType::i8);
  int64_t bytes = 0;
  for (const auto& param : narrow->params().all()) {
    const Rows rows = param->weight();
    const int64_t padded = rows.cols() + (32 - rows.cols() % 32) % 32;
    const int64_t groups = (rows.cols() + 63) / 64;
    if (rows.format == kW8Rows)
      bytes += rows.values.rows() * (padded + 2 * groups);
    else
      bytes += rows.values.count() * static_cast<int64_t>(dtype_size(rows.values.dtype()));
    const bool plain = param->shape.rank() == 1 || param->name.ends_with("mlp.gate.weight");
    const RowFormat expected = plain                                       ? kF32Rows
                               : param->name.ends_with("kv_b_proj.weight") ? kBf16Rows
                                                                           : kW8Rows;
    EXPECT_EQ(rows.format, expected) << param->name;
  }
  EXPECT_EQ(weight_bytes(model_->config(), DType::i8), bytes);
}

TEST_P(W8A8Test, EachValueIsWithinHalfAStep) {
  const auto narrow = load(DType::i8);
  for (const auto& param : narrow->params().all()) {
    if (!param->codes) continue;
    const Tensor wide =
        rotated(model_->params().find(param->name)->value, param->codes.format.rotation);
    const std::vector<float> all = values_of(param->codes);
    for (int64_t row = 0; row < wide.rows(); ++row) {
      const float* expected = wide.f32() + row * wide.cols();
      const float* found = all.data() + row * wide.cols();
      for (int64_t begin = 0; begin < wide.cols(); begin += 64) {
        float largest = 0;
        const int64_t end = std::min(wide.cols(), begin + 64);
        for (int64_t c = begin; c < end; ++c) largest = std::max(largest, std::abs(expected[c]));
        for (int64_t c = begin; c < end; ++c)  // f16 scales add a little
          ASSERT_NEAR(found[c], expected[c], 0.57f * largest / 127) << param->name;
      }
    }
  }
}

TEST_P(W8A8Test, ExpertsOnDiskHaveTheSameBits) {
  const ModelConfig& config = model_->config();
  if (config.moe.experts == 0) GTEST_SKIP() << "no experts";
  const std::vector<int32_t> ids = random_ids(40, config.vocab);
  const std::vector<float> expected = full_logits(*load(DType::i8), ids);
  const int64_t one = ExpertCache::expert_bytes(kW8Rows, config.hidden, config.moe.expert_width);
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
  std::mt19937 random(1);
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
      if (!param->codes || head) {
        views.push_back(reader.at(piece.name));
        continue;
      }
      // -128, and scales that rounding would not choose.
      const auto count = static_cast<size_t>(piece.shape.count());
      std::vector<int8_t>& q = integers.emplace_back(count);
      for (int8_t& value : q) value = static_cast<int8_t>(random());
      q[0] = -128;
      std::vector<float>& s = floats.emplace_back(static_cast<size_t>(piece.shape[0]));
      for (float& scale : s) scale = 1e-3F + 1e-6F * static_cast<float>(random() % 1000);
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
  EXPECT_EQ(model->params().weights().matrices, kByRows);
  size_t i = 0;
  for (const auto& param : model->params().all())
    for (const Piece& piece : param->pieces) {
      if (std::find(kept.begin(), kept.end(), piece.name) == kept.end()) continue;
      ASSERT_EQ(param->weight().format, kByRows) << param->name;
      const int64_t cols = piece.shape[1];
      const std::vector<float> all = values_of(param->codes);
      for (int64_t row = 0; row < piece.shape[0]; ++row) {
        const float* found = all.data() + (piece.row + row) * cols;
        for (int64_t c = 0; c < cols; ++c)
          ASSERT_EQ(found[c], static_cast<float>(integers[i][static_cast<size_t>(row * cols + c)]) *
                                  floats[i][static_cast<size_t>(row)])
              << piece.name;
      }
      ++i;
    }
  EXPECT_EQ(i, kept.size());
  if (!model->config().tie_embeddings) {
    EXPECT_EQ(model->head().format.type, RowType::f32) << "as it is stored";
  }
}

TEST_P(W8A8Test, ValuesTooLargeForTheScalesAreRefused) {
  model_->params().find("model.layers.0.self_attn.o_proj.weight")->value.f32()[0] = 1e30F;
  fs::remove_all(directory_);
  save_model(*model_, directory_);
  EXPECT_NO_THROW(load(DType::f32));
  for (const RowFormat& format : {kW8Rows, kW4Rows}) {
    try {
      load(WeightTypes(format));
      FAIL() << format_name(format);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("o_proj.weight: values too large"),
                std::string::npos)
          << error.what();
    }
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
