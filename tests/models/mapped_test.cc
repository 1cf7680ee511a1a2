// Models in the layout of memory: the bits of the same model loaded, used where they lie, and
// refused where they are not what the config says.
#include "models/mapped.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "core/files.h"
#include "core/safetensors.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/model_weights.h"
#include "ops/devices.h"
#include "tests/data/data_test_util.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/kernels/rows_util.h"
#include "tests/train/corpus_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class MappedTest : public ::testing::TestWithParam<std::string> {
 protected:
  MappedTest() : model_(random_model(GetParam())) { save_model(*model_, root_ / "from"); }

  /// Makes root_/to in these formats.
  void map(const WeightTypes& weights) const {
    fs::remove_all(root_ / "to");
    fs::create_directories(root_ / "to");
    fs::copy_file(root_ / "from" / "config.json", root_ / "to" / "config.json");
    ModelConfig config = read_config(root_ / "from");
    const WeightSource source = open_model_weights(root_ / "from", config);
    write_mapped(config, weights, source, root_ / "to");
  }
  std::unique_ptr<Model> load(const char* directory,
                              std::optional<WeightTypes> weights = std::nullopt) const {
    return load_model(root_ / directory, cpu_device(), nullptr, weights);
  }
  /// What loading root_/to says.
  std::string fault(std::optional<WeightTypes> weights = std::nullopt) const {
    return error_of([&] { load("to", weights); });
  }

  testing::TemporaryDirectory directory_{"mapped"};
  const fs::path root_ = directory_.path();
  std::unique_ptr<Model> model_;
};

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() &&
         (!a || (a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0));
}

TEST_P(MappedTest, HasTheBitsOfTheLoadedModel) {
  const std::vector<int32_t> ids = random_ids(30, model_->config().vocab);
  for (const RowFormat& format : {kF32Rows, kBf16Rows, kW8Rows, kW4Rows}) {
    WeightTypes weights(format);
    weights.others["lm_head.weight"] = kBf16Rows;
    map(weights);
    const auto mapped = load("to"), loaded = load("from", weights);
    EXPECT_EQ(mapped->params().weights(), weights);
    for (const auto& param : loaded->params().all()) {
      const Rows a = param->weight(), b = mapped->params().find(param->name)->weight();
      EXPECT_EQ(a.format, b.format) << param->name;
      EXPECT_EQ(values_of(a), values_of(b)) << param->name;
      EXPECT_TRUE(same_bytes(a.scales, b.scales)) << param->name;
      EXPECT_TRUE(same_bytes(a.offsets, b.offsets)) << param->name;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(b.values.raw()) % 64, 0u) << param->name;
    }
    EXPECT_EQ(full_logits(*mapped, ids), full_logits(*loaded, ids)) << format_name(format);
  }
}

TEST_P(MappedTest, TakesNoMemoryOfTheDevice) {
  map(kW8Rows);
  const size_t before = cpu_device().allocator().used_bytes();
  const auto mapped = load("to");
  int64_t vectors = 0;  // where parameters begin; they are not mapped before they are placed
  for (const auto& param : mapped->params().all()) vectors += param->shape[-1] * 4 + 64;
  EXPECT_LE(cpu_device().allocator().used_bytes() - before, static_cast<size_t>(vectors));
  EXPECT_LE(fs::file_size(root_ / "to" / kMappedFile),
            static_cast<uint64_t>(mapped->params().bytes()) + 400 * mapped->params().all().size());
}

TEST_P(MappedTest, OtherFormatsAreRefused) {
  map(kW8Rows);
  EXPECT_NE(load("to", kW8Rows), nullptr);
  EXPECT_NE(fault(kBf16Rows).find("the weights are mapped in w8a8; for another --dtype use"),
            std::string::npos)
      << fault(kBf16Rows);
  EXPECT_NE(error_of([&] { open_weights(root_ / "to"); }).find("in the layout of memory"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              load_model(root_ / "to", cpu_device(), nullptr, std::nullopt, 1 << 20);
            }).find("--expert-memory"),
            std::string::npos);
}

TEST_P(MappedTest, WhatDoesNotFitIsRefused) {
  map(kW4Rows);
  const fs::path path = root_ / "to" / kMappedFile;
  const std::string good = read_file(path, 1 << 28);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    const size_t at = bad.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    bad.replace(at, from.size(), to);
    write_file_atomic(path, bad);
    return fault();
  };
  EXPECT_NE(with(R"("ultramoe_layout":"2")", R"("ultramoe_layout":"9")").find("convert the model"),
            std::string::npos);
  EXPECT_NE(with(R"(\"panel4\")", R"(\"panel9\")").find("type: \"panel9\""), std::string::npos);
  EXPECT_NE(with(R"(\"panel4\")", R"(\"panel8\")").find("bytes; the model of config.json has"),
            std::string::npos);
  EXPECT_NE(with("model.norm.weight/values", "model.norm.weight/valued").find("is missing"),
            std::string::npos);
  write_file_atomic(path, good.substr(0, good.size() - 64));
  EXPECT_NE(fault(), "no error");
  write_file_atomic(path, good);
  EXPECT_EQ(fault(), "no error");
}

INSTANTIATE_TEST_SUITE_P(Presets, MappedTest,
                         ::testing::Values("nano-ultra", "tiny-embedded", "nano-openpangu2"),
                         preset_test_name);

}  // namespace
}  // namespace um
