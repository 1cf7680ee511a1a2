// Every architecture against independent implementations (the PyTorch oracle of tests/oracle, or
// Hugging Face transformers): all logits and all gradients of a ragged batch, on every kernel table
// this machine runs.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "kernels/registry.h"
#include "models/checkpoint.h"
#include "ops/devices.h"
#include "train/debug.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string name, kernels;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"ultra_v1",           "ultra_deepseek_spelling",
                           "ultra_half_rope",    "pro_moe",
                           "embedded",           "llama_tied",
                           "llama3_rope",        "llama_linear",
                           "qwen2_yarn",         "qwen3",
                           "qwen3_moe",          "deepseek_v2_lite",
                           "deepseek_v2",        "deepseek_v3",
                           "deepseek_v3_mtp",    "pro_moe_v2",
                           "pro_moe_v2_keys",    "openpangu_v2",
                           "openpangu_v2_plain", "openpangu_v2_nogamma"})
    for (const Kernels* kernels : available_kernels()) all.push_back({name, kernels->name});
  return all;
}

std::vector<float> values(const TensorView& view) {
  std::vector<float> out(static_cast<size_t>(view.elements()));
  convert_to_f32(view.dtype, view.bytes.data(), out.data(), out.size());
  return out;
}

/// max|a-b| / max|a|; an expected tensor of zeros asks for zeros.
double relative_error(const TensorView& expected, const TensorView& got) {
  const std::vector<float> a = values(expected), b = values(got);
  double worst = 0, scale = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    scale = std::max(scale, std::fabs(static_cast<double>(a[i])));
  }
  return scale == 0 ? worst : worst / scale;
}

class GoldenTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    directory_ = fs::path(UM_SOURCE_DIR) / "tests" / "golden" / GetParam().name;
    out_ = fs::temp_directory_path() /
           fmt::format("um_golden_{}_{}_{}", ::getpid(), GetParam().name, GetParam().kernels);
    model_ = load_model(directory_, cpu_device(GetParam().kernels), &warnings_);
    sequences_ = read_sequences(directory_ / "tokens.json", model_->config().vocab);
  }
  void TearDown() override { fs::remove(out_); }

  /// Compares every expected tensor whose name starts with one of `prefixes`.
  void compare(std::initializer_list<std::string_view> prefixes, double tolerance) {
    const SafetensorsFile expected(directory_ / "expected.safetensors"), got(out_);
    int compared = 0;
    for (const TensorView& view : expected.tensors()) {
      const bool wanted = std::any_of(prefixes.begin(), prefixes.end(),
                                      [&](auto prefix) { return view.name.starts_with(prefix); });
      if (!wanted || view.elements() == 0) continue;
      const TensorView* other = got.find(view.name);
      ASSERT_NE(other, nullptr) << view.name;
      ASSERT_EQ(other->shape, view.shape) << view.name;
      EXPECT_LT(relative_error(view, *other), tolerance) << view.name;
      ++compared;
    }
    EXPECT_GT(compared, 0);
  }

  fs::path directory_, out_;
  std::vector<std::string> warnings_;
  std::unique_ptr<Model> model_;
  Sequences sequences_;
};

TEST_P(GoldenTest, LoadsEveryTensor) {
  EXPECT_TRUE(warnings_.empty()) << warnings_.front();
}

TEST_P(GoldenTest, Logits) {
  write_debug_logits(*model_, sequences_, out_);
  compare({"logits.", "mtp."}, 1e-4);
}

TEST_P(GoldenTest, LossesAndGradients) {
  const auto meta = nlohmann::json::parse(read_file(directory_ / "meta.json"));
  write_debug_grads(*model_, sequences_, meta.at("mtp_weight"), meta.at("balance_weight"), out_);
  compare({"loss.", "grad."}, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, ::testing::ValuesIn(cases()), [](const auto& info) {
  return info.param.name + "_" + info.param.kernels;
});

}  // namespace
}  // namespace um
