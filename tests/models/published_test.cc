// Full-size checkpoints resolve: a file with nothing but the published names and shapes (a header
// and a hole for the data) has every tensor that the preset's model asks for, and no other.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "models/model_weights.h"
#include "ops/devices.h"
#include "tests/models/hollow_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

class PublishedTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    preset_ = fs::path(GetParam()).stem().string();
    tensors_ = published_tensors(GetParam());
    directory_ = fs::temp_directory_path() / fmt::format("um_published_{}_{}", ::getpid(), preset_);
    fs::create_directories(directory_);
    write_hollow(directory_ / "model.safetensors", tensors_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string preset_;
  std::vector<HollowTensor> tensors_;
  fs::path directory_;
};

TEST_P(PublishedTest, NothingIsMissingOrUnexpected) {
  const ModelConfig config = read_named_config(preset_);
  const auto model = make_model(config, dry_device());
  ModelConfig found = config;
  const WeightSource source = open_model_weights(directory_, found);
  EXPECT_EQ(found, config);
  EXPECT_EQ(source.tensors().size(), tensors_.size());
  std::vector<std::string> unused;
  load_weights(*model, source, &unused);  // throws where one is missing or of another shape
  EXPECT_TRUE(unused.empty()) << unused.size() << ", the first: " << unused.front();
  EXPECT_EQ(model->params().count(), count_parameters(config).total_with_mtp());
  if (preset_ != "pangu-embedded-7b") return;
  EXPECT_EQ(source.tensors().size(), 479u);
  EXPECT_EQ(source.total_bytes(), 16061784576u);
}

TEST(PublishedNames, OneLessIsMissed) {
  const fs::path directory = fs::temp_directory_path() / fmt::format("um_published_{}", ::getpid());
  fs::create_directories(directory);
  const auto model = make_model(read_named_config("smollm2-135m"), dry_device());
  const fs::path list = UM_SOURCE_DIR "/tests/models/published/smollm2-135m.txt";
  std::vector<HollowTensor> tensors = published_tensors(list);
  std::erase_if(tensors,
                [](const HollowTensor& tensor) { return tensor.name == "model.norm.weight"; });
  tensors.push_back({"model.layers.0.surplus.weight", {3}});
  write_hollow(directory / "model.safetensors", tensors);
  EXPECT_THROW(load_weights(*model, open_weights(directory)), Error);
  tensors.push_back({"model.norm.weight", {model->config().hidden}});
  write_hollow(directory / "model.safetensors", tensors);
  std::vector<std::string> unused;
  load_weights(*model, open_weights(directory), &unused);
  EXPECT_EQ(unused.size(), 1u);
  fs::remove_all(directory);
}

std::vector<std::string> lists() {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(UM_SOURCE_DIR "/tests/models/published"))
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

INSTANTIATE_TEST_SUITE_P(Presets, PublishedTest, ::testing::ValuesIn(lists()),
                         [](const auto& info) {
                           std::string name = fs::path(info.param).stem().string();
                           for (char& c : name)
                             if (c == '-' || c == '.') c = '_';
                           // Tens of thousands of tensors: minutes under a sanitizer.
                           const bool slow = name == "deepseek_v3" ||
                                             name == "pangu_ultra_moe_718b" ||
                                             name == "openpangu_2_0_flash";
                           return name + (slow ? "_Slow" : "");
                         });

}  // namespace
}  // namespace um
