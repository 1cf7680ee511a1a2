// Checkpoints of a family in the other forms that they come in: names, fused and split tensors,
// draft layers left out. The same numbers have to give the same bits.
#include "models/model_weights.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/convert.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

using Names = std::vector<std::string>;

/// Tensors in memory that a test takes apart.
class Tensors {
 public:
  explicit Tensors(const fs::path& directory) {
    const CheckpointReader reader(directory);
    for (const auto& [name, view] : reader.tensors())
      add(name, view->dtype, view->shape, {view->bytes.begin(), view->bytes.end()});
  }

  void save(const fs::path& directory) const {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : all_)
      views.push_back({{name, tensor.dtype, tensor.shape}, tensor.bytes});
    write_safetensors(directory / "model.safetensors", views);
  }

  Names names_with(std::string_view text) const {
    Names found;
    for (const auto& [name, tensor] : all_)
      if (name.find(text) != std::string::npos) found.push_back(name);
    return found;
  }
  void remove(const std::string& name) { ASSERT_EQ(all_.erase(name), 1u) << name; }
  void rename(const std::string& from, const std::string& to) {
    auto node = all_.extract(from);
    ASSERT_FALSE(node.empty()) << from;
    node.key() = to;
    all_.insert(std::move(node));
  }
  /// Tensors one after the other under a new name and shape.
  void fuse(const Names& from, const std::string& to, std::vector<int64_t> shape) {
    const DType dtype = all_.at(from.front()).dtype;
    std::vector<std::byte> bytes;
    for (const std::string& name : from) {
      const auto& part = all_.at(name).bytes;
      bytes.insert(bytes.end(), part.begin(), part.end());
      remove(name);
    }
    add(to, dtype, std::move(shape), std::move(bytes));
  }
  /// Rows of a matrix in several tensors.
  void split(const std::string& from, const std::vector<std::pair<std::string, int64_t>>& to) {
    const Stored matrix = all_.at(from);
    remove(from);
    const int64_t columns = matrix.shape[1];
    auto at = matrix.bytes.begin();
    for (const auto& [name, rows] : to) {
      const auto end = at + rows * columns * static_cast<int64_t>(dtype_size(matrix.dtype));
      add(name, matrix.dtype, {rows, columns}, {at, end});
      at = end;
    }
    EXPECT_EQ(at, matrix.bytes.end());
  }
  std::vector<int64_t> shape(const std::string& name) const { return all_.at(name).shape; }
  /// Those of `from` with this in their name.
  void copy(const Tensors& from, std::string_view text) {
    for (const std::string& name : from.names_with(text)) all_[name] = from.all_.at(name);
  }
  /// The lowest of the first byte.
  void flip_bit(const std::string& name) { all_.at(name).bytes.at(0) ^= std::byte{1}; }

 private:
  struct Stored {
    DType dtype;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape,
           std::vector<std::byte> bytes) {
    all_[name] = {dtype, std::move(shape), std::move(bytes)};
  }

  std::map<std::string, Stored> all_;
};

class ModelWeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = fs::temp_directory_path() /
            fmt::format("um_model_weights_{}_{}", ::getpid(),
                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(base_);
  }
  void TearDown() override { fs::remove_all(base_); }

  static fs::path golden(const std::string& name) {
    return fs::path(UM_SOURCE_DIR) / "tests" / "golden" / name;
  }
  /// The golden model `name` with these tensors.
  fs::path changed(const std::string& name, const Tensors& tensors) const {
    fs::create_directories(base_ / name);
    fs::copy_file(golden(name) / "config.json", base_ / name / "config.json",
                  fs::copy_options::overwrite_existing);
    tensors.save(base_ / name);
    return base_ / name;
  }
  /// Loads as if nothing had been changed; on the way back to disk it has the family's own names.
  void expect_same(const std::string& name, const Tensors& tensors) const {
    const fs::path path = changed(name, tensors);
    Names warnings;
    const auto found = load_model(path, cpu_device(), &warnings);
    const auto expected = load_model(golden(name), cpu_device());
    EXPECT_EQ(warnings, Names{});
    const std::vector<int32_t> ids = random_ids(12, expected->config().vocab);
    EXPECT_EQ(full_logits(*found, ids), full_logits(*expected, ids));
    tiny_tokenizer().save(path);
    const Conversion back(path, base_ / "back", {});
    EXPECT_EQ(back.lost_tensors(), Names{});
    back.write(0, {});
    const CheckpointReader written(base_ / "back"), original(golden(name));
    ASSERT_EQ(written.tensors().size(), original.tensors().size());
    for (const auto& [tensor, view] : original.tensors()) {
      ASSERT_NE(written.find(tensor), nullptr) << tensor;
      EXPECT_TRUE(std::equal(view->bytes.begin(), view->bytes.end(),
                             written.at(tensor).bytes.begin(), written.at(tensor).bytes.end()))
          << tensor;
    }
  }
  static std::string error_of(const fs::path& path) {
    try {
      load_model(path, cpu_device());
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }

  fs::path base_;
};

TEST_F(ModelWeightsTest, TheCorrectionBiasHasTwoNames) {
  const std::string child = "gate.e_score_correction_bias", sibling = "e_score_correction_bias";
  for (const char* name : {"deepseek_v3_mtp", "pro_moe_v2", "ultra_deepseek_spelling"}) {
    SCOPED_TRACE(name);
    Tensors tensors(golden(name));
    const Names biases = tensors.names_with(sibling);
    ASSERT_FALSE(biases.empty());
    for (const std::string& bias : biases) {
      const bool is_child = bias.ends_with(child);
      const std::string mlp = bias.substr(0, bias.size() - (is_child ? child : sibling).size());
      tensors.rename(bias, mlp + (is_child ? sibling : child));
    }
    expect_same(name, tensors);
    fs::remove_all(base_ / "back");
  }
}

TEST_F(ModelWeightsTest, QueriesKeysAndValuesApart) {
  const ModelConfig config = read_config(golden("pro_moe_v2"));
  const AttentionConfig& a = config.attention;
  Tensors tensors(golden("pro_moe_v2"));
  for (const std::string& name : tensors.names_with("qkv_proj.weight")) {
    const std::string attention = name.substr(0, name.find("qkv_proj"));
    tensors.split(name, {{attention + "q_proj.weight", a.heads * a.qk_dim()},
                         {attention + "k_proj.weight", a.kv_heads * a.qk_dim()},
                         {attention + "v_proj.weight", a.kv_heads * a.v_dim}});
  }
  expect_same("pro_moe_v2", tensors);
  const std::string key = tensors.names_with("k_proj.weight").front();
  tensors.remove(key);
  EXPECT_NE(error_of(changed("pro_moe_v2", tensors)).find("\"" + key + "\" is missing"),
            std::string::npos);
}

/// Experts as transformers 5 has them in memory.
void fuse_experts(const ModelConfig& config, Tensors& tensors) {
  const int64_t E = config.moe.experts, F = config.moe.expert_width, D = config.hidden;
  for (const std::string& first : tensors.names_with("mlp.experts.0.gate_proj.weight")) {
    const std::string experts = first.substr(0, first.find("0.gate_proj"));
    Names gate_up, down;
    for (int64_t e = 0; e < E; ++e) {
      for (const char* part : {".gate_proj.weight", ".up_proj.weight"})
        gate_up.push_back(experts + std::to_string(e) + part);
      down.push_back(experts + std::to_string(e) + ".down_proj.weight");
    }
    tensors.fuse(gate_up, experts + "gate_up_proj", {E, 2 * F, D});
    tensors.fuse(down, experts + "down_proj", {E, D, F});
  }
}

TEST_F(ModelWeightsTest, AllExpertsInTwoTensors) {
  for (const char* name : {"qwen3_moe", "deepseek_v3", "deepseek_v2_lite"}) {
    SCOPED_TRACE(name);
    const ModelConfig config = read_config(golden(name));
    Tensors tensors(golden(name));
    fuse_experts(config, tensors);
    EXPECT_EQ(tensors.names_with("experts.0."), Names{});
    expect_same(name, tensors);
    // From disk, too: one expert of each layer in memory.
    const int64_t one = ExpertCache::expert_bytes(kF32Rows, config.hidden, config.moe.expert_width);
    const int64_t layers = config.layers - config.dense_layers;
    const auto whole = load_model(golden(name), cpu_device());
    const auto cached = load_model(base_ / name, cpu_device(), nullptr, DType::f32, layers * one);
    ASSERT_NE(cached->params().expert_cache(), nullptr);
    const std::vector<int32_t> ids = random_ids(12, config.vocab);
    EXPECT_EQ(full_logits(*cached, ids), full_logits(*whole, ids));
    fs::remove_all(base_ / "back");
  }
  const ModelConfig config = read_config(golden("qwen3_moe"));
  Tensors tensors(golden("qwen3_moe"));
  fuse_experts(config, tensors);
  const std::string fused = tensors.names_with("experts.gate_up_proj").front();
  std::vector<int64_t> shape = tensors.shape(fused);
  std::swap(shape[1], shape[2]);
  tensors.fuse({fused}, fused, shape);
  const std::string error = error_of(changed("qwen3_moe", tensors));
  EXPECT_NE(error.find(fused + ": expected shape"), std::string::npos) << error;
}

/// In both of its forms a tensor would be read in one and passed over in the other.
TEST_F(ModelWeightsTest, ATensorInTwoFormsIsRefused) {
  const auto refused = [&](const std::string& name, const Tensors& tensors,
                           const std::string& other) {
    const std::string error = error_of(changed(name, tensors));
    EXPECT_NE(error.find(other), std::string::npos) << error;
    EXPECT_NE(error.find("expected one of the two, found both"), std::string::npos) << error;
  };
  const ModelConfig config = read_config(golden("qwen3_moe"));
  Tensors fused(golden("qwen3_moe"));
  fuse_experts(config, fused);
  Tensors both = fused;
  both.copy(Tensors(golden("qwen3_moe")), "mlp.experts.1.");
  refused("qwen3_moe", both, "experts.gate_up_proj");

  Tensors biases(golden("deepseek_v3_mtp"));
  const std::string bias = biases.names_with("gate.e_score_correction_bias").front();
  Tensors sibling = biases;
  sibling.rename(bias, bias.substr(0, bias.find("gate.")) + "e_score_correction_bias");
  sibling.copy(biases, bias);
  refused("deepseek_v3_mtp", sibling, "e_score_correction_bias");
}

/// What is taken for a copy is one, or there is a warning.
TEST_F(ModelWeightsTest, CopiesThatAreNone) {
  const std::string name = "llama_tied", head = "lm_head.weight",
                    embedding = "model.embed_tokens.weight";
  const Tensors golden_tensors(golden(name));
  Tensors tensors = golden_tensors;
  if (tensors.names_with(head).empty()) {
    tensors.rename(embedding, head);
    tensors.copy(golden_tensors, embedding);
  }
  Names warnings;
  load_model(changed(name, tensors), cpu_device(), &warnings);
  EXPECT_EQ(warnings, Names{});
  tensors.flip_bit(head);
  load_model(changed(name, tensors), cpu_device(), &warnings);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("tensor lm_head.weight is no copy of " + embedding), std::string::npos)
      << warnings[0];
}

TEST_F(ModelWeightsTest, WithoutItsMtpLayerAModelRunsWithoutDrafts) {
  const std::string name = "deepseek_v3_mtp";
  Tensors tensors(golden(name));
  const Names layer = tensors.names_with("model.layers.2.");
  ASSERT_GT(layer.size(), 10u);
  Tensors partly = tensors;
  partly.remove(layer[5]);
  EXPECT_NE(error_of(changed(name, partly)).find("\"" + layer[5] + "\" is missing"),
            std::string::npos);
  for (const std::string& tensor : layer) tensors.remove(tensor);
  Names warnings;
  const auto model = load_model(changed(name, tensors), cpu_device(), &warnings);
  EXPECT_EQ(model->mtp_heads(), 0);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("1 MTP layer, the weights have 0: no tensors of layer 2"),
            std::string::npos)
      << warnings[0];
  const std::vector<int32_t> ids = random_ids(12, model->config().vocab);
  EXPECT_EQ(full_logits(*model, ids), full_logits(*load_model(golden(name), cpu_device()), ids));
}

TEST_F(ModelWeightsTest, TheFirstOfSeveralMtpLayers) {
  ModelConfig config = read_config(golden("deepseek_v3_mtp"));
  config.mtp_layers = 3;
  const auto model = make_model(config, cpu_device());
  model->params().initialize(1);
  save_model(*model, base_ / "three");
  Tensors tensors(base_ / "three");
  for (const std::string& tensor : tensors.names_with("model.layers.4.")) tensors.remove(tensor);
  tensors.save(base_ / "three");
  EXPECT_EQ(load_model(base_ / "three", cpu_device())->mtp_heads(), 2);
  const Names second = tensors.names_with("model.layers.3.");
  Tensors last = Tensors(base_ / "three");
  for (const std::string& tensor : last.names_with("model.layers.2.")) last.remove(tensor);
  last.save(base_ / "three");
  EXPECT_NE(error_of(base_ / "three").find("model.layers.2."), std::string::npos)
      << "only the last ones can be left out";
  for (const std::string& tensor : second) tensors.remove(tensor);
  tensors.save(base_ / "three");
  EXPECT_EQ(load_model(base_ / "three", cpu_device())->mtp_heads(), 1);
}

TEST_F(ModelWeightsTest, LoadingSaysHowFarItHasCome) {
  const fs::path path = golden("deepseek_v3");
  const ModelConfig config = read_config(path);
  std::vector<std::pair<uint64_t, uint64_t>> calls;
  const LoadProgress note = [&](uint64_t done, uint64_t all) { calls.emplace_back(done, all); };
  load_model(path, cpu_device(), nullptr, DType::f32, kAllExperts, note);
  const uint64_t bytes = open_weights(path).total_bytes();
  ASSERT_GT(calls.size(), 10u);
  EXPECT_LT(calls.front().first, bytes / 4);
  EXPECT_EQ(calls.back(), std::pair(bytes, bytes));
  EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  calls.clear();
  const int64_t one = ExpertCache::expert_bytes(kF32Rows, config.hidden, config.moe.expert_width);
  const int64_t layers = config.layers - config.dense_layers;
  load_model(path, cpu_device(), nullptr, DType::f32, layers * one, note);
  const auto experts = static_cast<uint64_t>(layers * config.moe.experts * one);
  EXPECT_EQ(calls.back(), std::pair(bytes - experts, bytes - experts)) << "they stay on disk";
}

}  // namespace
}  // namespace um
