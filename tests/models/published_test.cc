// Full-size checkpoints resolve: a file with nothing but the published names and shapes (a header
// and a hole for the data) has every tensor that the preset's model asks for, and no other.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "core/files.h"
#include "core/json.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "ops/devices.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct Stored {
  std::string name;
  std::vector<int64_t> shape;
  bool f32 = false;
  int64_t elements() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }
};

/// "a.{1-2}.b" → "a.1.b", "a.2.b".
std::vector<std::string> expand(const std::string& pattern) {
  const size_t open = pattern.find('{');
  if (open == std::string::npos) return {pattern};
  const size_t dash = pattern.find('-', open), close = pattern.find('}', open);
  const int first = std::stoi(pattern.substr(open + 1)), last = std::stoi(pattern.substr(dash + 1));
  std::vector<std::string> names;
  for (int i = first; i <= last; ++i)
    for (const std::string& rest : expand(pattern.substr(close + 1)))
      names.push_back(pattern.substr(0, open) + std::to_string(i) + rest);
  return names;
}

std::vector<Stored> published(const fs::path& list) {
  std::vector<Stored> tensors;
  std::ifstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    const size_t open = line.find(" ["), close = line.find(']');
    const Json shape = parse_json(line.substr(open + 1, close - open), list.string());
    for (const std::string& name : expand(line.substr(0, open)))
      tensors.push_back(
          {name, shape.get<std::vector<int64_t>>(), line.find(" F32", close) != std::string::npos});
  }
  return tensors;
}

/// A safetensors file of these tensors whose data takes no space on the disk.
void write_hollow(const fs::path& path, const std::vector<Stored>& tensors) {
  Json header = Json::object();
  uint64_t at = 0;
  for (const bool f32 : {true, false})
    for (const Stored& tensor : tensors) {
      if (tensor.f32 != f32) continue;
      const uint64_t end = at + static_cast<uint64_t>(tensor.elements()) * (f32 ? 4 : 2);
      header[tensor.name] = {
          {"dtype", f32 ? "F32" : "BF16"}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
      at = end;
    }
  std::string text = to_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file << text;
  file.close();
  fs::resize_file(path, 8 + size + at);
}

class PublishedTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    preset_ = fs::path(GetParam()).stem().string();
    tensors_ = published(GetParam());
    directory_ = fs::temp_directory_path() / fmt::format("um_published_{}_{}", ::getpid(), preset_);
    fs::create_directories(directory_);
    write_hollow(directory_ / "model.safetensors", tensors_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string preset_;
  std::vector<Stored> tensors_;
  fs::path directory_;
};

TEST_P(PublishedTest, NothingIsMissingOrUnexpected) {
  const ModelConfig config = read_named_config(preset_);
  const auto model = make_model(config, dry_device());
  const WeightSource source = open_weights(directory_);
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
  std::vector<Stored> tensors = published(list);
  std::erase_if(tensors, [](const Stored& tensor) { return tensor.name == "model.norm.weight"; });
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
