// Quantised checkpoints, converted as they are read: against values worked out here from random
// small numbers and scales.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "models/weights.h"

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

}  // namespace
}  // namespace um
