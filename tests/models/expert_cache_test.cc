// Experts that stay on disk: a model that has room for few of them computes the same bits as one
// that has all, whatever the room; and what is used most stays.
#include "nn/expert_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "ops/devices.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

/// Rows of the same format and shape.
void copy_bits(const Rows& from, const Rows& to) {
  const RowsView source = from.view(), target = to.view();
  std::memcpy(const_cast<void*>(target.values), source.values, to.values.bytes());
  if (to.scales) std::memcpy(to.scales.raw(), source.scales, to.scales.bytes());
}

/// Copies an expert out of a model that has all of them.
ExpertCache::Load from_model(const Model& model, const ExpertCache& cache) {
  return [&](int64_t layer, int64_t expert, const Rows& gate_up, const Rows& down) {
    const auto copy = [&](const char* name, const Rows& to) {
      const Param* all = model.params().find(cache.layers()[static_cast<size_t>(layer)] + name);
      copy_bits(all->weight().row_range(expert * to.rows(), (expert + 1) * to.rows()), to);
    };
    copy("gate_up_proj", gate_up);
    copy("down_proj", down);
  };
}

ModelConfig config_of(const char* preset) {
  ModelConfig config = read_named_config(preset);
  config.vocab = 200;
  config.init = InitRule::normal;
  config.initializer_range = 0.1;
  return config;
}

std::unique_ptr<Model> with_cache(const Model& whole, int64_t slots) {
  const ModelConfig& config = whole.config();
  auto cache = std::make_unique<ExpertCache>(whole.device(), whole.params().weights().matrices,
                                             slots, config.hidden, config.moe.expert_width);
  ExpertCache& kept = *cache;
  auto model = make_model(config, whole.device(), whole.params().weights(), std::move(cache));
  kept.set_load(from_model(whole, kept));
  for (const auto& param : model->params().all()) {
    copy_bits(whole.params().find(param->name)->weight(), param->weight());
  }
  return model;
}

TEST(ExpertCache, AModelWithFewExpertsInMemoryComputesTheSameBits) {
  for (const char* preset : {"nano-ultra", "tiny-pro", "nano-openpangu2"})
    for (const DType dtype : {DType::f32, DType::bf16, DType::i8}) {
      const ModelConfig config = config_of(preset);
      const auto whole = make_model(config, cpu_device(), dtype);
      whole->params().initialize(4);
      const std::vector<int32_t> ids = random_ids(40, config.vocab);
      const std::vector<float> expected = full_logits(*whole, ids);
      const int64_t layers = whole->moe_layers();
      for (const int64_t slots : {layers, 3 * layers + 1, layers * config.moe.experts}) {
        const auto model = with_cache(*whole, slots);
        EXPECT_EQ(full_logits(*model, ids), expected) << preset << ", room for " << slots;
        EXPECT_EQ(full_logits(*model, ids), expected) << preset << ", room for " << slots;
        const ExpertCache::Stats stats = model->params().expert_cache()->stats();
        EXPECT_GT(stats.misses, 0);
        if (slots == layers * config.moe.experts) {
          EXPECT_EQ(stats.hits, stats.misses) << "the second forward finds what the first loaded";
        }
        EXPECT_LT(model->params().count(), whole->params().count());
      }
    }
}

/// Offsets of a routing in which only these experts have a token each.
Tensor offsets_of(const std::vector<int64_t>& used, int64_t experts) {
  std::vector<int64_t> offsets = {0};
  for (int64_t e = 0; e < experts; ++e)
    offsets.push_back(offsets.back() + std::count(used.begin(), used.end(), e));
  return Tensor::from(cpu_device(), {experts + 1}, std::span<const int64_t>(offsets));
}

using Pairs = std::vector<std::pair<int64_t, int64_t>>;

TEST(ExpertCache, TheLongestUnusedOfTheLayerGoesFirst) {
  ExpertCache cache(cpu_device(), kF32Rows, 7, 4, 2);  // three for each of two layers
  ExpertSlots* layer = cache.add_layer("a.", 6);
  ExpertSlots* other = cache.add_layer("b.", 6);
  Pairs loaded;
  cache.set_load([&](int64_t l, int64_t e, const Rows& gate_up, const Rows& down) {
#pragma omp critical
    loaded.emplace_back(l, e);
    EXPECT_EQ(gate_up.values.shape(), Shape({4, 4}));
    EXPECT_EQ(down.values.shape(), Shape({4, 2}));
  });
  const auto use = [&](ExpertSlots* from, const std::vector<int64_t>& experts) {
    loaded.clear();
    from->fetch(offsets_of(experts, 6), 0);
    std::sort(loaded.begin(), loaded.end());
    return loaded;
  };
  EXPECT_EQ(use(layer, {0, 1, 2}), (Pairs{{0, 0}, {0, 1}, {0, 2}}));
  EXPECT_EQ(use(layer, {0, 2}), Pairs{});
  EXPECT_EQ(use(other, {1, 4}), (Pairs{{1, 1}, {1, 4}})) << "takes nothing from the first layer";
  EXPECT_EQ(use(layer, {1}), Pairs{});
  EXPECT_EQ(use(layer, {5}), (Pairs{{0, 5}})) << "in place of 0";
  EXPECT_EQ(use(layer, {0, 1}), (Pairs{{0, 0}})) << "in place of 2: what is wanted now stays";
  EXPECT_EQ(use(other, {1, 4}), Pairs{});
  EXPECT_EQ(cache.stats().hits, 2 + 1 + 1 + 2);
  EXPECT_EQ(cache.stats().misses, 3 + 2 + 1 + 1);
}

TEST(ExpertCache, MoreThanFitComeInTurns) {
  ExpertCache cache(cpu_device(), kF32Rows, 2, 4, 2);
  ExpertSlots* layer = cache.add_layer("a.", 8);
  cache.set_load([](int64_t, int64_t, const Rows&, const Rows&) {});
  const Tensor offsets = offsets_of({1, 2, 4, 7}, 8);
  EXPECT_EQ(layer->fetch(offsets, 0).end, 4);
  const ExpertSlots::Fetched last = layer->fetch(offsets, 4);
  EXPECT_EQ(last.end, 8);
  EXPECT_EQ(last.slots.count(), 4);
  EXPECT_NE(last.slots.i32()[0], last.slots.i32()[3]);
}

TEST(ExpertCache, EveryLayerNeedsRoom) {
  EXPECT_THROW(ExpertCache(cpu_device(), kF32Rows, 0, 4, 2), Error);
  ExpertCache cache(cpu_device(), kF32Rows, 1, 4, 2);
  cache.set_load([](int64_t, int64_t, const Rows&, const Rows&) {});
  ExpertSlots* layer = cache.add_layer("a.", 8);
  cache.add_layer("b.", 8);
  EXPECT_THROW(layer->fetch(offsets_of({1}, 8), 0), Error);
}

class ExpertFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(::testing::TempDir()) / fmt::format("expert_files_{}", ::getpid());
    std::filesystem::remove_all(directory_);
    const auto model = make_model(config_of("nano-ultra"), cpu_device());
    model->params().initialize(4);
    save_model(*model, directory_);
    expected_ = full_logits(*model, ids_);
    one_ = ExpertCache::expert_bytes(kF32Rows, model->config().hidden,
                                     model->config().moe.expert_width);
    layers_ = model->moe_layers();
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::unique_ptr<Model> load(int64_t bytes, std::vector<std::string>* warnings = nullptr) {
    return load_model(directory_, cpu_device(), warnings, DType::f32, bytes);
  }

  std::filesystem::path directory_;
  const std::vector<int32_t> ids_ = random_ids(30, 200);
  std::vector<float> expected_;
  int64_t one_ = 0, layers_ = 0;
};

TEST_F(ExpertFilesTest, ACheckpointRunsFromDisk) {
  std::vector<std::string> warnings;
  const auto model = load(layers_ * one_, &warnings);
  ASSERT_NE(model->params().expert_cache(), nullptr);
  EXPECT_EQ(model->params().expert_cache()->slots(), layers_);
  EXPECT_EQ(warnings, std::vector<std::string>{}) << "experts count as used";
  EXPECT_EQ(full_logits(*model, ids_), expected_);
  EXPECT_NE(describe_experts(*model).find("stay on disk"), std::string::npos);
}

/// As the file has them, and converted: to bf16, and from integers.
TEST_F(ExpertFilesTest, EveryTypeIsReadAsFromTheMap) {
  for (const bool file_in_bf16 : {false, true}) {
    if (file_in_bf16) {
      ModelConfig config = config_of("nano-ultra");
      config.dtype = DType::bf16;
      const auto model = make_model(config, cpu_device());
      model->params().initialize(4);
      save_model(*model, directory_);
    }
    for (const DType type : {DType::f32, DType::bf16, DType::i8}) {
      const auto whole = load_model(directory_, cpu_device(), nullptr, type, kAllExperts);
      const RowFormat format = whole->params().weights().matrices;
      const int64_t one = ExpertCache::expert_bytes(format, whole->config().hidden,
                                                    whole->config().moe.expert_width);
      const auto cached = load_model(directory_, cpu_device(), nullptr, type, 2 * layers_ * one);
      ASSERT_NE(cached->params().expert_cache(), nullptr);
      EXPECT_EQ(full_logits(*cached, ids_), full_logits(*whole, ids_)) << static_cast<int>(type);
    }
  }
}

/// A file that becomes shorter is an error of who wants an expert from there, and of nobody else.
TEST_F(ExpertFilesTest, AShortenedFileIsAnErrorAndNotTheEnd) {
  const std::filesystem::path file = directory_ / "model.safetensors";
  const std::string whole = read_file(file);
  for (const DType type : {DType::f32, DType::bf16, DType::i8}) {
    const auto model = load_model(directory_, cpu_device(), nullptr, type, layers_ * one_);
    EXPECT_EQ(full_logits(*model, ids_).size(), expected_.size());
    std::filesystem::resize_file(file, 4096);
    for (int i = 0; i < 2; ++i) try {
        full_logits(*model, ids_);
        ADD_FAILURE() << "read from a file that is not there";
      } catch (const Error& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find(file.string() + ": expected "), std::string::npos) << text;
        EXPECT_NE(text.find("it was shortened"), std::string::npos) << text;
      }
    std::ofstream(file, std::ios::binary | std::ios::in) << whole;  // the same file again
    const auto again = full_logits(*model, ids_);
    EXPECT_EQ(again, full_logits(*load_model(directory_, cpu_device(), nullptr, type), ids_));
    std::filesystem::remove(file);  // it stays open
    EXPECT_EQ(full_logits(*model, ids_), again);
    std::ofstream(file, std::ios::binary) << whole;
  }
}

TEST_F(ExpertFilesTest, AllThatFitAreInMemory) {
  for (const int64_t bytes : {kAllExperts, kExpertsThatFit}) {
    const auto model = load(bytes);
    EXPECT_EQ(model->params().expert_cache(), nullptr);
    EXPECT_EQ(describe_experts(*model), "");
  }
}

TEST_F(ExpertFilesTest, TooLittleMemoryIsRefused) {
  try {
    load(layers_ * one_ - 1);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("one expert of each"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace um
