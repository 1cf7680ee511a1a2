// Quantised checkpoints, converted as they are read: against values worked out here from random
// small numbers and scales.
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "models/quantization_config.h"
#include "models/weights.h"
#include "tests/text/peer_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Writes tensors of any type into one file.
class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::path(testing::TempDir()) /
                 fmt::format("quantized_{}_{}", ::getpid(),
                             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  template <class T>
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape,
           const std::vector<T>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    tensors_[name] = {TensorSpec{name, dtype, std::move(shape)}, std::move(bytes)};
  }
  void drop(const std::string& name) { tensors_.erase(name); }

  WeightSource open(const json& quantization = nullptr) {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors_) {
      TensorView view;
      static_cast<TensorSpec&>(view) = tensor.first;
      view.bytes = tensor.second;
      views.push_back(view);
    }
    write_safetensors(directory_ / "model.safetensors", views);
    write_file_atomic(directory_ / "config.json",
                      json{{"quantization_config", quantization}}.dump());
    return open_weights(directory_);
  }

  std::vector<float> random_floats(size_t count) {
    std::vector<float> values(count);
    for (float& v : values) v = std::uniform_real_distribution<float>(0.5, 2)(random_);
    return values;
  }
  template <class T>
  std::vector<T> random_integers(size_t count, int low, int high) {
    std::vector<T> values(count);
    for (T& v : values) v = static_cast<T>(std::uniform_int_distribution<int>(low, high)(random_));
    return values;
  }

  fs::path directory_;
  std::map<std::string, std::pair<TensorSpec, std::vector<std::byte>>> tensors_;
  std::mt19937 random_{5};
};

std::vector<float> values(const StoredWeight& weight) {
  std::vector<float> all(static_cast<size_t>(weight.rows() * weight.columns()));
  weight.read(0, weight.rows(), all.data());
  std::vector<float> row(static_cast<size_t>(weight.columns()));
  weight.read(weight.rows() - 1, 1, row.data());
  EXPECT_TRUE(std::equal(row.begin(), row.end(), all.end() - std::ssize(row)));
  return all;
}

TEST_F(Checkpoint, Fp8InBlocks) {
  constexpr size_t kRows = 200, kColumns = 150;  // edges are smaller than a block
  std::vector<uint8_t> q(kRows * kColumns);
  for (uint8_t& v : q) v = static_cast<uint8_t>(random_() & 0xF7);  // no NaN
  const std::vector<float> scale = random_floats(4);
  add("model.x.weight", DType::f8_e4m3, {kRows, kColumns}, q);
  add("model.x.weight_scale_inv", DType::f32, {2, 2}, scale);
  add("model.norm.weight", DType::f32, {2}, std::vector<float>{1, 2});
  const json method = {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
  const WeightSource source = open(method);
  EXPECT_EQ(source.tensors().size(), 2u);
  const std::vector<float> found = values(source.at("model.x.weight"));
  for (size_t r = 0; r < kRows; ++r)
    for (size_t c = 0; c < kColumns; ++c) {
      const size_t i = r * kColumns + c;
      ASSERT_EQ(found[i], f32_from_f8_e4m3(q[i]) * scale[r / 128 * 2 + c / 128]) << r << " " << c;
    }
  EXPECT_EQ(source.at("model.x.weight").dtype, DType::bf16);
  add("model.x.weight_scale_inv", DType::f32, {2, 3}, random_floats(6));
  EXPECT_THROW(open(method), Error);
  EXPECT_THROW(open({{"quant_method", "gptq"}}), Error);
  EXPECT_THROW(open({{"quant_method", "fp8"}, {"weight_block_size", {0, 128}}}), Error);
}

TEST_F(Checkpoint, Int8PerChannel) {
  const auto q = random_integers<int8_t>(6 * 8, -127, 127);
  const std::vector<float> scale = random_floats(6);
  add("model.x.weight", DType::i8, {6, 8}, q);
  add("model.x.weight_scale", DType::f32, {6, 1}, scale);
  add("model.x.input_scale", DType::f32, {1}, random_floats(1));
  const json method = {{"quant_method", "compressed-tensors"}};
  std::vector<float> found = values(open(method).at("model.x.weight"));
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], static_cast<float>(q[i]) * scale[i / 8]);
  EXPECT_EQ(open(method).tensors().size(), 1u);
  // Asymmetric, and one scale for everything.
  const auto zero = random_integers<int8_t>(6, -5, 5);
  add("model.x.weight_zero_point", DType::i8, {6, 1}, zero);
  add("model.x.weight_scale", DType::f32, {1}, std::vector<float>{0.5});
  found = values(open(method).at("model.x.weight"));
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], static_cast<float>(q[i] - zero[i / 8]) * 0.5F);
  add("model.x.weight_scale", DType::f32, {5, 1}, random_floats(5));
  EXPECT_THROW(open(method), Error);
  add("model.x.weight_scale", DType::f32, {0}, std::vector<float>{});
  EXPECT_THROW(open(method), Error);
  drop("model.x.weight");
  EXPECT_THROW(open(method), Error);
}

/// Values of `bits`, lowest first, in words along rows of `columns`.
std::vector<uint32_t> pack(const std::vector<int>& unsigned_values, size_t columns, size_t bits) {
  const size_t per_word = 32 / bits, words = (columns + per_word - 1) / per_word,
               rows = unsigned_values.size() / columns;
  std::vector<uint32_t> packed(rows * words);
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c)
      packed[r * words + c / per_word] |= static_cast<uint32_t>(unsigned_values[r * columns + c])
                                          << (c % per_word * bits);
  return packed;
}

TEST_F(Checkpoint, IntegersWithoutTheirScaleAreAnError) {
  add("model.x.weight", DType::i8, {6, 8}, random_integers<int8_t>(6 * 8, -127, 127));
  add("model.y.weight", DType::f32, {2}, std::vector<float>{1, 2});
  try {
    open({{"quant_method", "compressed-tensors"}});
    FAIL() << "read as numbers";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("\"model.x.weight_scale\""), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(open(), Error);
}

TEST_F(Checkpoint, PackedIntegers) {
  constexpr size_t kRows = 10, kColumns = 64;
  const json method = {{"quant_method", "compressed-tensors"}};
  for (const int bits : {4, 8}) {
    const int offset = 1 << (bits - 1);
    const auto q = random_integers<int>(kRows * kColumns, 0, 2 * offset - 1);
    const std::vector<float> scale = random_floats(kRows * 2);  // groups of 32
    const auto packed = pack(q, kColumns, static_cast<size_t>(bits));
    tensors_.clear();
    add("model.x.weight_packed", DType::i32, {kRows, std::ssize(packed) / int64_t{kRows}}, packed);
    add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{kRows, kColumns});
    add("model.x.weight_scale", DType::f32, {kRows, 2}, scale);
    std::vector<float> found = values(open(method).at("model.x.weight"));
    ASSERT_EQ(found.size(), q.size());
    for (size_t i = 0; i < q.size(); ++i)
      ASSERT_EQ(found[i],
                static_cast<float>(q[i] - offset) * scale[i / kColumns * 2 + i % kColumns / 32])
          << bits << " " << i;
    // Zero points are packed along the rows.
    const auto zero = random_integers<int>(kRows * 2, 0, 2 * offset - 1);
    std::vector<int> turned(kRows * 2);
    for (size_t r = 0; r < kRows; ++r)
      for (size_t g = 0; g < 2; ++g) turned[g * kRows + r] = zero[r * 2 + g];
    const auto columns = pack(turned, kRows, static_cast<size_t>(bits));
    const size_t words = columns.size() / 2;
    std::vector<uint32_t> zeros(columns.size());
    for (size_t w = 0; w < words; ++w)
      for (size_t g = 0; g < 2; ++g) zeros[w * 2 + g] = columns[g * words + w];
    add("model.x.weight_zero_point", DType::i32, {static_cast<int64_t>(words), 2}, zeros);
    // And the columns belong to groups in another order.
    std::vector<int32_t> group(kColumns);
    for (size_t c = 0; c < kColumns; ++c) group[c] = static_cast<int32_t>(c % 2);
    add("model.x.weight_g_idx", DType::i32, {kColumns}, group);
    found = values(open(method).at("model.x.weight"));
    for (size_t i = 0; i < q.size(); ++i) {
      const size_t at = i / kColumns * 2 + i % 2;
      ASSERT_EQ(found[i], static_cast<float>(q[i] - zero[at]) * scale[at]) << bits << " " << i;
    }
    group[3] = 2;
    add("model.x.weight_g_idx", DType::i32, {kColumns}, group);
    EXPECT_THROW(open(method), Error);
    drop("model.x.weight_shape");
    EXPECT_THROW(open(method), Error);
  }
}

TEST_F(Checkpoint, ModelSlim) {
  constexpr int64_t kRows = 4, kColumns = 16;
  const auto q = random_integers<int8_t>(kRows * kColumns, -127, 127);
  const std::vector<float> scale = random_floats(kRows);
  add("model.x.weight", DType::i8, {kRows, kColumns}, q);
  add("model.x.weight_scale", DType::f32, {kRows, 1}, scale);
  add("model.x.weight_offset", DType::f32, {kRows, 1}, std::vector<float>(kRows, 0));
  write_file_atomic(directory_ / "quant_model_description.json",
                    R"({"model_quant_type": "W8A8", "model.x.weight": "W8A8_DYNAMIC"})");
  std::vector<float> found = values(open().at("model.x.weight"));
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], static_cast<float>(q[i]) * scale[i / kColumns]);
  // Static: the bias is in units of input scale × weight scale, less the offset's share.
  const float input_scale = 0.05F;
  const int offset = 7;
  const std::vector<float> bias = {1, -2, 0.5, 3};
  std::vector<float> units(kRows);
  std::vector<int32_t> quantised(kRows);
  for (size_t r = 0; r < kRows; ++r) {
    units[r] = input_scale * scale[r];
    int sum = 0;
    for (size_t c = 0; c < kColumns; ++c) sum += q[r * kColumns + c];
    quantised[r] = static_cast<int32_t>(std::lround(bias[r] / units[r])) - offset * sum;
  }
  add("model.x.input_scale", DType::f32, {1}, std::vector<float>{input_scale});
  add("model.x.input_offset", DType::i8, {1}, std::vector<int8_t>{offset});
  add("model.x.quant_bias", DType::i32, {kRows}, quantised);
  add("model.x.deq_scale", DType::f32, {kRows}, units);
  const WeightSource source = open({{"quant_method", "ascend"}});
  EXPECT_EQ(source.tensors().size(), 2u);
  found = values(source.at("model.x.bias"));
  for (size_t r = 0; r < kRows; ++r) EXPECT_NEAR(found[r], bias[r], units[r]);
  write_file_atomic(directory_ / "quant_model_description.json",
                    R"({"model.x.weight": "W4A8_DYNAMIC"})");
  EXPECT_THROW(open(), Error);
}

/// Expects one line of error with all of these texts.
void expect_refused(const std::function<void()>& action, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "read in silence: " << parts.front();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

/// compressed-tensors' config with one group of weights.
json compressed(const json& weights, const std::string& format = "") {
  json config = {{"quant_method", "compressed-tensors"},
                 {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}}}}}};
  if (!format.empty()) config["format"] = format;
  return config;
}

TEST_F(Checkpoint, Int8ThatIsNotWhatTheConfigSays) {
  add("model.x.weight", DType::i8, {6, 8}, random_integers<int8_t>(6 * 8, 10, 127));
  add("model.x.weight_scale", DType::f32, {6, 1}, random_floats(6));
  const json channel = {{"num_bits", 8}, {"type", "int"}, {"strategy", "channel"}};
  open(compressed(channel, "int-quantized"));
  open(compressed(channel, "naive-quantized"));
  const auto refuse = [&](const json& change, const std::string& format,
                          const std::vector<std::string>& parts) {
    json weights = channel;
    weights.update(change);
    expect_refused([&] { open(compressed(weights, format)); }, parts);
  };
  refuse({{"type", "float"}}, "", {"model.x.weight", "I8 in the file", "F8_E4M3", "group_0"});
  refuse({{"num_bits", 4}}, "int-quantized", {"model.x.weight", "num_bits 4"});
  refuse({{"num_bits", 16}}, "", {"16 bits", "group_0"});
  refuse({{"strategy", "tensor"}}, "", {"weight_scale", "[6, 1]", "[1, 1]", "tensor"});
  refuse({{"strategy", "group"}, {"group_size", 4}}, "", {"weight_scale", "[6, 1]", "[6, 2]"});
  refuse({{"strategy", "group"}}, "", {"group_size 0"});
  refuse({{"strategy", "channel"}, {"group_size", 4}}, "", {"group_size 4"});
  refuse({{"strategy", "block"}, {"block_structure", {2, 4}}}, "", {"[6, 1]", "[3, 2]"});
  refuse({{"strategy", "block"}}, "", {"block_structure"});
  refuse({{"strategy", "token"}}, "", {"strategy", "token"});
  refuse({{"strategy", "tensor_group"}, {"group_size", 4}}, "", {"tensor_group"});
  refuse({{"symmetric", false}}, "", {"weight_offset", "symmetric false"});
  refuse({{"actorder", "group"}}, "", {"weight_g_idx", "actorder group"});
  refuse({{"actorder", "backwards"}}, "", {"actorder", "backwards"});
  refuse(json::object(), "pack-quantized", {"unpacked values", "packed words"});
  refuse(json::object(), "float-quantized", {"type int", "float-quantized"});
  refuse(json::object(), "dense", {"quantised", "format dense"});
  refuse(json::object(), "mxfp8-quantized", {"mxfp8-quantized"});
  // A scale of two columns under strategy channel.
  add("model.x.weight_scale", DType::f32, {6, 2}, random_floats(12));
  refuse(json::object(), "", {"weight_scale", "[6, 2]", "[6, 1]", "channel"});
  open(compressed({{"strategy", "group"}, {"group_size", 4}}));
  add("model.x.weight_scale", DType::u8, {6, 1}, random_integers<uint8_t>(6, 1, 9));
  refuse(json::object(), "", {"weight_scale", "U8"});
  add("model.x.weight_scale", DType::f32, {6, 1}, random_floats(6));
  // Zero points where none are said; zeros are none.
  add("model.x.weight_zero_point", DType::i8, {6, 1}, std::vector<int8_t>(6, 0));
  open(compressed(channel));
  add("model.x.weight_zero_point", DType::i8, {6, 1}, std::vector<int8_t>(6, 3));
  refuse(json::object(), "", {"weight_zero_point", "symmetric"});
  json asymmetric = channel;
  asymmetric["symmetric"] = false;
  open(compressed(asymmetric));
}

TEST_F(Checkpoint, WhatIsQuantisedIsWhatTheListsSay) {
  add("model.x.weight", DType::i8, {6, 8}, random_integers<int8_t>(6 * 8, -127, 127));
  add("model.x.weight_scale", DType::f32, {6, 1}, random_floats(6));
  add("model.y.weight", DType::bf16, {2, 2}, std::vector<uint16_t>(4, 0x3f80));
  const json channel = {{"strategy", "channel"}};
  json config = compressed(channel);
  const WeightSource source = open(config);
  ASSERT_EQ(source.warnings().size(), 1u);
  EXPECT_NE(source.warnings()[0].find("model.y.weight"), std::string::npos);
  for (const char* entry : {"model.x", "re:.*x$", "Linear"}) {
    config["ignore"] = {entry};
    expect_refused([&] { open(config); }, {"model.x.weight", "not quantised", "ignore"});
  }
  config["ignore"] = {"model.y", "re:x", "LlamaRMSNorm"};  // a pattern fits the beginning
  EXPECT_TRUE(open(config).warnings().empty());
  config["ignore"] = {"re:("};
  EXPECT_THROW(open(config), Error);
  config.erase("ignore");
  for (const char* entry : {"model.z", "re:x", "Embedding"}) {
    config["config_groups"]["group_0"]["targets"] = {entry};
    expect_refused([&] { open(config); }, {"model.x.weight", "not quantised", "config_groups"});
  }
  // The name counts before a pattern, and that before a class.
  config["config_groups"]["group_0"]["targets"] = {"Linear"};
  config["config_groups"]["group_1"] = {{"targets", {"model.x"}},
                                        {"weights", {{"strategy", "tensor"}}}};
  expect_refused([&] { open(config); }, {"group_1", "tensor"});
  config["config_groups"]["group_1"] = {{"targets", {"re:.*x"}}, {"weights", nullptr}};
  expect_refused([&] { open(config); }, {"group_1", "no weights"});
  // What we do not do is named.
  config = compressed(channel);
  config["kv_cache_scheme"] = {{"num_bits", 8}, {"type", "float"}};
  add("model.k_scale", DType::f32, {1}, std::vector<float>{1});
  const WeightSource cached = open(config);
  EXPECT_NE(cached.warnings().at(0).find("kv_cache_scheme"), std::string::npos);
  EXPECT_EQ(cached.find("model.k_scale"), nullptr);
  config["transform_config"] = {{"config_groups", {{"u", 1}}}};
  expect_refused([&] { open(config); }, {"transform_config"});
  config.erase("transform_config");
  config["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
  expect_refused([&] { open(config); }, {"sparse-24-bitmask"});
}

/// What is to be turned while the model runs turns the stored rows, and is kept by the integers.
TEST_F(Checkpoint, TransformsOfInputsTurnTheRows) {
  const auto q = random_integers<int8_t>(6 * 8, -127, 127);
  const std::vector<float> scale = random_floats(6);
  add("model.x.weight", DType::i8, {6, 8}, q);
  add("model.x.weight_scale", DType::f32, {6, 1}, scale);
  json config = compressed({{"strategy", "channel"}});
  const auto transform = [&](json scheme, const char* location = "input") {
    scheme["apply"] = {{{"targets", {"Linear"}}, {"location", location}, {"ignore", {"lm_head"}}},
                       {{"targets", {"Linear"}}, {"location", "weight_input"}, {"inverse", true}}};
    config["transform_config"] = {{"config_groups", {{"u", scheme}}}};
  };
  for (const auto& [scheme, block] :
       {std::pair(json{{"type", "hadamard"}, {"head_dim", 4}}, size_t{4}),
        {json{{"type", "hadamard"}}, size_t{8}}}) {
    transform(scheme);
    const WeightSource source = open(config);
    const StoredWeight& weight = source.at("model.x.weight");
    EXPECT_EQ(weight.codes.format.rotation, static_cast<int64_t>(block));
    const std::vector<float> found = values(weight);
    for (size_t r = 0; r < 6; ++r)
      for (size_t c = 0; c < 8; ++c) {
        double expected = 0;
        for (size_t j = 0; j < block; ++j) {
          const double term = q[r * 8 + c / block * block + j] * double{scale[r]};
          expected += std::popcount(j & (c % block)) % 2 == 1 ? -term : term;
        }
        EXPECT_NEAR(found[r * 8 + c], expected / std::sqrt(static_cast<double>(block)), 1e-3);
      }
  }
  // What is done with weights alone is done in the file.
  transform({{"type", "random-matrix"}}, "weight_output");
  EXPECT_EQ(open(config).at("model.x.weight").codes.format.rotation, 0);
  const auto refuse = [&](const json& scheme, const char* location,
                          const std::vector<std::string>& words) {
    transform(scheme, location);
    expect_refused([&] { open(config); }, words);
  };
  refuse({{"type", "random-hadamard"}}, "input", {"transform_config", "random-hadamard"});
  refuse({{"type", "hadamard"}, {"randomize", true}}, "input", {"randomized"});
  refuse({{"type", "hadamard"}}, "q_attn", {"q_attn"});
  refuse({{"type", "hadamard"}, {"head_dim", 6}}, "input", {"head_dim", "power of two", "6"});
  refuse({{"type", "hadamard"}, {"head_dim", 16}}, "input", {"model.x", "8 channels"});
  transform({{"type", "hadamard"}, {"head_dim", 4}});
  config["transform_config"]["config_groups"]["v"] =
      config["transform_config"]["config_groups"]["u"];
  expect_refused([&] { open(config); }, {"model.x", "already"});
  config["transform_config"]["config_groups"].erase("v");
  add("model.y.weight", DType::bf16, {2, 8}, std::vector<uint16_t>(16, 0x3f80));
  expect_refused([&] { open(config); }, {"model.y.weight", "not quantised"});
}

TEST_F(Checkpoint, PackedWordsThatAreNotWhatTheConfigSays) {
  const auto add_scale = [&](int64_t groups) {
    add("model.x.weight_scale", DType::f32, {4, groups},
        random_floats(static_cast<size_t>(4 * groups)));
  };
  add("model.x.weight_packed", DType::i32, {4, 8}, random_integers<int32_t>(32, 0, 1 << 30));
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{4, 64});
  add_scale(2);
  const json group = {{"num_bits", 4}, {"strategy", "group"}, {"group_size", 32}};
  open(compressed(group, "pack-quantized"));
  const auto refuse = [&](const json& change, const std::string& format,
                          const std::vector<std::string>& parts) {
    json weights = group;
    weights.update(change);
    expect_refused([&] { open(compressed(weights, format)); }, parts);
  };
  refuse({{"num_bits", 8}}, "", {"weight_packed", "[4, 8]", "[4, 16]", "num_bits 8"});
  refuse({{"num_bits", 3}}, "", {"3 bits"});
  refuse({{"group_size", 16}}, "", {"weight_scale", "[4, 2]", "[4, 4]", "group_size 16"});
  refuse({{"type", "float"}, {"num_bits", 8}}, "pack-quantized", {"float", "pack-quantized"});
  refuse(json::object(), "int-quantized", {"packed words", "unpacked values"});
  refuse({{"symmetric", false}}, "", {"symmetric false"});
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{4, 128});
  add_scale(4);
  refuse(json::object(), "", {"weight_packed", "[4, 8]", "[4, 16]", "weight_shape [4, 128]"});
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{5, 64});
  refuse(json::object(), "", {"weight_packed", "weight_shape [5, 64]"});
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{4, 64});
  add_scale(2);
  add("model.x.weight_zero_point", DType::i32, {1, 2}, std::vector<uint32_t>(2, 0x1234));
  refuse(json::object(), "", {"weight_zero_point", "symmetric"});
  add("model.x.weight_zero_point", DType::i32, {1, 2}, std::vector<uint32_t>(2, 0x88888888));
  open(compressed(group));
}

/// Only one of two tensors that say the same could be read; the other would be passed over.
TEST_F(Checkpoint, WhatIsStoredTwiceIsRefused) {
  const auto refused = [&](const std::string& one, const std::string& other) {
    expect_refused([&] { open(); }, {directory_.string(), "model.x." + one, "model.x." + other,
                                     "expected one", "found", "remove the"});
  };
  constexpr int64_t kRows = 4, kColumns = 32;
  const std::vector<float> plain = random_floats(kRows * kColumns), scale = random_floats(kRows);
  const auto words = random_integers<int32_t>(kRows * kColumns / 8, 0, 1 << 30);
  const auto bytes = random_integers<int8_t>(kRows * kColumns, -127, 127);
  add("model.x.weight_packed", DType::i32, {kRows, kColumns / 8}, words);
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{kRows, kColumns});
  add("model.x.weight_scale", DType::f32, {kRows, 1}, scale);
  EXPECT_EQ(open().tensors().size(), 1u);
  for (const bool integers : {false, true}) {
    if (integers)
      add("model.x.weight", DType::i8, {kRows, kColumns}, bytes);
    else
      add("model.x.weight", DType::f32, {kRows, kColumns}, plain);
    refused("weight", "weight_packed");
  }
  drop("model.x.weight");
  add("model.x.qweight", DType::i32, {kColumns / 8, kRows}, words);
  refused("weight_packed", "qweight");
  drop("model.x.weight_packed");
  add("model.x.weight", DType::i8, {kRows, kColumns}, bytes);
  refused("weight", "qweight");
  drop("model.x.qweight");
  EXPECT_EQ(open().tensors().size(), 1u);
  add("model.x.weight_scale_inv", DType::f32, {kRows, 1}, scale);
  refused("weight_scale", "weight_scale_inv");
  drop("model.x.weight_scale_inv");
  add("model.x.weight_offset", DType::f32, {kRows, 1}, scale);
  add("model.x.weight_zero_point", DType::f32, {kRows, 1}, scale);
  refused("weight_zero_point", "weight_offset");
  drop("model.x.weight_offset");
  drop("model.x.weight_zero_point");
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{kRows, kColumns + 1});
  expect_refused([&] { open(); }, {"model.x.weight_shape", "[4, 33]", "expected [4, 32]"});
  // Without scales, too.
  drop("model.x.weight_scale");
  drop("model.x.weight_shape");
  add("model.x.weight", DType::f32, {kRows, kColumns}, plain);
  EXPECT_EQ(open().tensors().size(), 1u);
  add("model.x.qweight", DType::i32, {kColumns / 8, kRows}, words);
  refused("weight", "qweight");
}

TEST_F(Checkpoint, OrdersOfColumns) {
  const auto words = random_integers<int32_t>(32, 0, 1 << 30);
  const std::vector<float> scale = random_floats(8);
  add("model.x.weight_packed", DType::i32, {4, 8}, words);
  add("model.x.weight_shape", DType::i64, {2}, std::vector<int64_t>{4, 64});
  add("model.x.weight_scale", DType::f32, {4, 2}, scale);
  json weights = {{"num_bits", 4}, {"strategy", "group"}, {"group_size", 32}};
  const auto index = [&](const std::function<int32_t(int32_t)>& group) {
    std::vector<int32_t> groups(64);
    for (int32_t c = 0; c < 64; ++c) groups[static_cast<size_t>(c)] = group(c);
    add("model.x.weight_g_idx", DType::i32, {64}, groups);
  };
  index([](int32_t c) { return c / 32; });
  const std::vector<float> in_order = values(open(compressed(weights)).at("model.x.weight"));
  index([](int32_t c) { return 1 - c / 32; });  // reversed
  expect_refused([&] { open(compressed(weights)); }, {"weight_g_idx", "actorder"});
  weights["actorder"] = "weight";  // which leaves columns where they are
  expect_refused([&] { open(compressed(weights)); }, {"weight_g_idx", "actorder"});
  weights["actorder"] = "group";
  const std::vector<float> reversed = values(open(compressed(weights)).at("model.x.weight"));
  for (size_t i = 0; i < reversed.size(); ++i) {
    const size_t row = i / 64, group = i % 64 / 32;
    ASSERT_FLOAT_EQ(reversed[i] / scale[row * 2 + 1 - group], in_order[i] / scale[row * 2 + group]);
  }
  index([](int32_t c) { return c < 31 ? 0 : 1; });
  expect_refused([&] { open(compressed(weights)); }, {"31 columns in group 0", "expected 32"});
  // Integers that are not packed have an order, too.
  tensors_.clear();
  const auto q = random_integers<int8_t>(4 * 64, -127, 127);
  add("model.x.weight", DType::i8, {4, 64}, q);
  add("model.x.weight_scale", DType::f32, {4, 2}, scale);
  index([](int32_t c) { return c % 2; });
  weights["num_bits"] = 8;
  const std::vector<float> found = values(open(compressed(weights)).at("model.x.weight"));
  for (size_t i = 0; i < q.size(); ++i)
    ASSERT_EQ(found[i], static_cast<float>(q[i]) * scale[i / 64 * 2 + i % 2]);
}

TEST_F(Checkpoint, Fp8ThatIsNotWhatTheConfigSays) {
  add("model.x.weight", DType::f8_e4m3, {200, 150}, std::vector<uint8_t>(200 * 150, 0x38));
  add("model.x.weight_scale_inv", DType::f32, {2, 2}, random_floats(4));
  json config = {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}, {"fmt", "e4m3"}};
  open(config);
  config["weight_block_size"] = {64, 128};
  expect_refused([&] { open(config); }, {"weight_scale_inv", "[2, 2]", "[4, 2]"});
  config["weight_block_size"] = {128, 128};
  config["fmt"] = "e5m2";
  expect_refused([&] { open(config); }, {"model.x.weight", "F8_E4M3 in the file", "F8_E5M2"});
  config["fmt"] = "e4m3";
  for (const char* entry : {"model.x", "model", "x"}) {
    config["modules_to_not_convert"] = {entry};
    expect_refused([&] { open(config); }, {"model.x.weight", "modules_to_not_convert"});
  }
  config["modules_to_not_convert"] = {"mod", "el.x", "lm_head"};
  open(config);
  config.erase("modules_to_not_convert");
  // One scale, or one for each row, are no blocks.
  add("model.x.weight_scale_inv", DType::f32, {1}, random_floats(1));
  expect_refused([&] { open(config); }, {"weight_scale_inv", "[1]", "[2, 2]"});
  add("model.x.weight_scale_inv", DType::f32, {200, 1}, random_floats(200));
  expect_refused([&] { open(config); }, {"weight_scale_inv", "[200, 1]", "[2, 2]"});
  config["weight_block_size"] = nullptr;
  open(config);
  add("model.x.weight", DType::i8, {200, 150}, std::vector<uint8_t>(200 * 150, 0x38));
  expect_refused([&] { open(config); }, {"model.x.weight", "I8 in the file", "fp8"});
  expect_refused([&] { open({{"quant_method", "awq"}}); }, {"quant_method", "awq"});
}

TEST_F(Checkpoint, ModelSlimThatIsNotWhatItsDescriptionSays) {
  const auto describe = [&](const json& types) {
    write_file_atomic(directory_ / "quant_model_description.json", types.dump());
  };
  const json good = {{"model_quant_type", "W8A8"},
                     {"model.x.weight", "W8A8"},
                     {"model.x.weight_scale", "W8A8"},
                     {"model.x.weight_offset", "W8A8"},
                     {"model.y.weight", "FLOAT"}};
  const auto refuse = [&](const json& change, const std::vector<std::string>& parts) {
    json types = good;
    types.merge_patch(change);
    describe(types);
    expect_refused([&] { open({{"quant_method", "ascend"}}); }, parts);
  };
  add("model.x.weight", DType::i8, {4, 8}, random_integers<int8_t>(4 * 8, -127, 127));
  add("model.x.weight_scale", DType::f32, {4, 1}, random_floats(4));
  add("model.x.weight_offset", DType::f32, {4, 1}, std::vector<float>(4, 0));
  add("model.y.weight", DType::bf16, {2, 2}, std::vector<uint16_t>(4, 0x3f80));
  describe(good);
  open({{"quant_method", "ascend"}});
  refuse({{"model.x.weight", "FLOAT"},
          {"model.x.weight_scale", nullptr},
          {"model.x.weight_offset", nullptr}},
         {"model.x.weight", "not quantised", "quant_model_description.json"});
  refuse({{"model.x.weight", nullptr},
          {"model.x.weight_scale", nullptr},
          {"model.x.weight_offset", nullptr}},
         {"model.x.weight", "not quantised"});
  refuse({{"model.y.weight", "W8A8_DYNAMIC"}}, {"model.y.weight", "BF16", "W8A8", "I8"});
  refuse({{"model.y.weight", "W4A4"}}, {"model.y.weight", "W4A4"});
  refuse({{"model.x.weight_scale", "W8A8_DYNAMIC"}}, {"model.x.weight_scale", "W8A8_DYNAMIC"});
  refuse({{"model.x.input_scale", "W8A8"}}, {"model.x.input_scale", "missing"});
  for (const char* side : {"model.x.weight_scale", "model.x.weight_offset"}) {
    const auto kept = tensors_.at(side);
    drop(side);
    refuse(json::object(), {side, "missing"});
    tensors_[side] = kept;
  }
  add("model.x.quant_bias", DType::i32, {4}, std::vector<int32_t>(4, 100));
  refuse(json::object(), {"model.x.quant_bias", "deq_scale"});
  drop("model.x.quant_bias");
  add("model.x.weight_scale", DType::f32, {4, 2}, random_floats(8));
  refuse(json::object(), {"model.x.weight_scale", "[4, 2]", "[4, 1]"});
  add("model.x.weight_scale", DType::f32, {4, 1}, random_floats(4));
  add("model.x.weight", DType::f8_e4m3, {4, 8}, std::vector<uint8_t>(32, 0x38));
  refuse(json::object(), {"model.x.weight", "F8_E4M3 in the file", "I8"});
}

TEST_F(Checkpoint, TheCompressedTensorsPackageReadsTheSameSlow) {
  json cases = json::array();
  const std::vector<json> strategies = {{{"strategy", "tensor"}},
                                        {{"strategy", "channel"}},
                                        {{"strategy", "group"}, {"group_size", 16}},
                                        {{"strategy", "block"}, {"block_structure", {16, 24}}}};
  for (json weights : strategies) {
    weights.update({{"num_bits", 8}, {"type", "float"}});
    cases.push_back({{"format", "float-quantized"}, {"weights", weights}});
    weights["type"] = "int";
    for (const int bits : {1, 2, 4, 8})
      for (const bool symmetric : {true, false})
        for (const char* format : {"int-quantized", "naive-quantized", "pack-quantized"}) {
          if (weights["strategy"] == "block" && (!symmetric || format[0] == 'p')) continue;
          weights["num_bits"] = bits;
          weights["symmetric"] = symmetric;
          cases.push_back({{"format", format}, {"weights", weights}});
        }
  }
  const auto reply = ask_python("../models/compressed_tensors_peer.py",
                                {{"write", directory_.string()}, {"cases", cases}});
  if (!reply) GTEST_SKIP() << "Python or its package compressed-tensors is missing (set UM_PYTHON)";
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::vector<uint32_t> bits = (*reply)[i];
    const WeightSource source = open_weights(directory_ / std::to_string(i));
    const std::vector<float> found = values(source.at("model.x.weight"));
    ASSERT_EQ(found.size(), bits.size());
    for (size_t at = 0; at < bits.size(); ++at)
      ASSERT_EQ(std::bit_cast<uint32_t>(found[at] + 0.0F), bits[at] == 0x80000000 ? 0 : bits[at])
          << cases[i] << " " << at;
  }
}

TEST(ModuleList, MatchesAsTheCompressedTensorsPackageSlow) {
  json pairs = json::array();
  for (const char* module : {"lm_head", "model.layers.1.mlp.gate", "model.layers.1.mlp.gate_proj",
                             "model.layers.11.self_attn.q_proj"})
    for (const char* entry :
         {"lm_head", "Linear", "Embedding", "gate", "re:.*gate$", "re:gate", "re:.*lm_head",
          "re:model\\.layers\\.1\\.", "re:(?=.*mlp)", "re:.*(q|k)_proj$", "model.layers.1.mlp",
          "re:model.layers.1", "re:.*\\.1[0-9]?\\..*", "re:[^.]+$", "LlamaRMSNorm"})
      pairs.push_back({module, entry});
  const auto reply = ask_python("../models/compressed_tensors_peer.py", {{"match", pairs}});
  if (!reply) GTEST_SKIP() << "Python or its package compressed-tensors is missing (set UM_PYTHON)";
  for (size_t i = 0; i < pairs.size(); ++i)
    EXPECT_EQ(ModuleList({pairs[i][1]}, "test").fit(pairs[i][0]) > 0, (*reply)[i]) << pairs[i];
}

}  // namespace
}  // namespace um
