// GGUF files as models: names and layouts against ones worked out by hand, configs of every
// architecture, parts, and files that are refused.
#include "models/gguf_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/gguf_write.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/gguf_names.h"
#include "ops/devices.h"
#include "tests/kernels/rows_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Element i of a test tensor is start + i.
struct TestTensor {
  GgufTensorSpec spec;
  float start = 0;
};

class GgufModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::path(testing::TempDir()) / fmt::format("gguf_{}_{}", ::getpid(), test->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path write(const std::vector<GgufEntry>& metadata, const std::vector<TestTensor>& tensors,
                 const std::string& name = "model.gguf") const {
    std::vector<GgufTensorSpec> specs;
    for (const TestTensor& tensor : tensors) specs.push_back(tensor.spec);
    size_t next = 0;
    write_gguf(directory_ / name, metadata, specs,
               [&](const GgufTensorSpec& spec, const GgufSink& sink) {
                 float value = tensors[next++].start;
                 int64_t count = 1;
                 for (const int64_t extent : spec.shape) count *= extent;
                 std::vector<float> values(static_cast<size_t>(count));
                 for (float& v : values) v = value++;
                 std::vector<std::byte> bytes(spec.byte_size());
                 encode_blocks(spec.type, values.data(), bytes.data(), values.size());
                 sink(bytes);
               });
    return directory_ / name;
  }

  fs::path directory_;
};

std::vector<GgufEntry> metadata(const std::string& a, const std::vector<GgufEntry>& more = {}) {
  std::vector<GgufEntry> entries = {
      {"general.architecture", a},          {a + ".block_count", 2U},
      {a + ".context_length", 64U},         {a + ".embedding_length", 8U},
      {a + ".feed_forward_length", 16U},    {a + ".attention.head_count", 2U},
      {a + ".attention.head_count_kv", 1U}, {a + ".attention.layer_norm_rms_epsilon", 1e-5F},
      {a + ".rope.freq_base", 5e5F},        {a + ".vocab_size", 10U},
      {"tokenizer.ggml.bos_token_id", 1U},  {"tokenizer.ggml.eos_token_id", 2U}};
  for (const GgufEntry& entry : more) {
    GgufEntry whole = entry;
    if (whole.key.starts_with('.')) whole.key = a + whole.key;
    entries.push_back(whole);
  }
  return entries;
}

std::vector<float> values(const StoredWeight& weight) {
  std::vector<float> all(static_cast<size_t>(weight.rows() * weight.columns()));
  weight.read(0, weight.rows(), all.data());
  // Any stretch of rows gives the same.
  std::vector<float> again(all.size());
  for (int64_t row = 0; row < weight.rows(); ++row)
    weight.read(row, 1, again.data() + row * weight.columns());
  EXPECT_EQ(again, all);
  return all;
}

TEST_F(GgufModelTest, LlamaRowsAreInHalves) {
  const fs::path path =
      write(metadata("llama"), {{{"token_embd.weight", {10, 8}, BlockType::f32}},
                                {{"blk.1.attn_q.weight", {8, 2}, BlockType::f32}},
                                {{"blk.1.attn_k.weight", {4, 1}, BlockType::f32}},
                                {{"blk.1.attn_q.bias", {8}, BlockType::f32}},
                                {{"blk.1.attn_v.weight", {4, 1}, BlockType::bf16}},
                                {{"blk.01.attn_v.weight", {4, 1}, BlockType::f32}},
                                {{"mystery", {4}, BlockType::f32}}});
  const WeightSource source = open_weights(path);
  const std::string layer = "model.layers.1.self_attn.";
  // Two heads of 4 rows: rows 0 2 1 3 of each.
  EXPECT_EQ(values(source.at(layer + "q_proj.weight")),
            (std::vector<float>{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}));
  EXPECT_EQ(values(source.at(layer + "k_proj.weight")), (std::vector<float>{0, 2, 1, 3}));
  EXPECT_EQ(values(source.at(layer + "q_proj.bias")), (std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}));
  EXPECT_EQ(source.at(layer + "q_proj.bias").shape, (std::vector<int64_t>{8}));
  EXPECT_EQ(values(source.at(layer + "v_proj.weight")), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(source.at(layer + "v_proj.weight").plain.size(), 8u);
  EXPECT_NE(source.find("mystery"), nullptr);
  EXPECT_NE(source.find("blk.01.attn_v.weight"), nullptr);  // no layer 1 of another spelling
  for (int64_t row = 0; row < 96; ++row) {
    EXPECT_EQ(half_row(interleaved_row(row, 12), 12), row);
    EXPECT_EQ(interleaved_row(half_row(row, 12), 12), row);
  }
}

/// The integers of every block type in panels stand for the very values that it decodes to.
TEST_F(GgufModelTest, BlocksOfEveryTypeFitPanels) {
  constexpr int64_t kRows = 20, kColumns = 512;
  std::vector<GgufTensorSpec> specs;
  for (uint32_t type = 0; type < 64; ++type) {
    const BlockFormat* format = find_block_format(type);
    if (format != nullptr && format->elements > 1)
      specs.push_back({std::string(format->name), {kRows, kColumns}, format->type});
  }
  ASSERT_EQ(specs.size(), 13u);
  std::mt19937 random(1);
  write_gguf(directory_ / "model.gguf", metadata("llama"), specs,
             [&](const GgufTensorSpec& spec, const GgufSink& sink) {
               std::vector<std::byte> bytes(spec.byte_size());
               for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
               sink(bytes);
             });
  const WeightSource source = open_weights(directory_ / "model.gguf");
  for (const GgufTensorSpec& spec : specs) {
    const StoredWeight& weight = source.at(spec.name);
    const Rows panels = Rows::empty(cpu_device(), {kRows, kColumns}, weight.codes.format);
    read_weight(weight, panels, 0);
    std::vector<float> expected(static_cast<size_t>(kRows * kColumns));
    weight.read(0, kRows, expected.data());
    const std::vector<float> found = values_of(panels);
    size_t compared = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      if (!std::isfinite(expected[i])) continue;  // a scale that is no number
      ASSERT_EQ(found[i], expected[i]) << spec.name << " " << i;
      ++compared;
    }
    EXPECT_GT(compared, found.size() / 2) << spec.name;
    // Memory is the file's size but for values of uneven steps, and those of 2 and 3 bits.
    const BlockFormat& format = block_format(spec.type);
    if (format.highest - format.lowest < 15 || format.scales == BlockScales::f32 ||
        format.highest == 113)
      continue;
    EXPECT_LE(static_cast<double>(kRows * weight.codes.format.row_bytes(kColumns)),
              1.03 * static_cast<double>(spec.byte_size()))
        << spec.name;
  }
}

TEST_F(GgufModelTest, ExpertsAreApart) {
  const fs::path path = write(metadata("qwen3moe", {{".expert_count", 3U},
                                                    {".expert_used_count", 2U},
                                                    {".expert_feed_forward_length", 2U}}),
                              {{{"token_embd.weight", {10, 8}, BlockType::f32}},
                               {{"blk.0.ffn_down_exps.weight", {3, 2, 2}, BlockType::f32}},
                               {{"blk.0.ffn_gate_up_exps.weight", {3, 4, 1}, BlockType::f32}},
                               {{"blk.0.attn_q.weight", {4, 1}, BlockType::f32}}});
  const WeightSource source = open_weights(path);
  const std::string experts = "model.layers.0.mlp.experts.";
  EXPECT_EQ(values(source.at(experts + "2.down_proj.weight")), (std::vector<float>{8, 9, 10, 11}));
  EXPECT_EQ(values(source.at(experts + "1.gate_proj.weight")), (std::vector<float>{4, 5}));
  EXPECT_EQ(values(source.at(experts + "1.up_proj.weight")), (std::vector<float>{6, 7}));
  EXPECT_EQ(source.at(experts + "1.up_proj.weight").shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(values(source.at("model.layers.0.self_attn.q_proj.weight")),
            (std::vector<float>{0, 1, 2, 3}));  // no rows change places
  EXPECT_EQ(source.tensors().size(), 11u);
}

TEST_F(GgufModelTest, BothHalvesOfKvBComeBackTogether) {
  // Two heads, rank 2, nope 3, v 1.
  const fs::path path =
      write(metadata("deepseek2"), {{{"blk.0.attn_k_b.weight", {2, 2, 3}, BlockType::f32}},
                                    {{"blk.0.attn_v_b.weight", {2, 1, 2}, BlockType::f32}, 100},
                                    {{"blk.1.attn_kv_b.weight", {8, 2}, BlockType::f32}}});
  const WeightSource source = open_weights(path);
  const StoredWeight& split = source.at("model.layers.0.self_attn.kv_b_proj.weight");
  EXPECT_EQ(split.shape, (std::vector<int64_t>{8, 2}));
  EXPECT_EQ(values(split), (std::vector<float>{0, 3, 1, 4, 2, 5, 100, 101,  //
                                               6, 9, 7, 10, 8, 11, 102, 103}));
  EXPECT_EQ(values(source.at("model.layers.1.self_attn.kv_b_proj.weight"))[5], 5);
  const fs::path half = write(
      metadata("deepseek2"), {{{"blk.0.attn_k_b.weight", {2, 2, 3}, BlockType::f32}}}, "half.gguf");
  EXPECT_THROW(open_weights(half), Error);
}

json config_of(const fs::path& path) {
  return gguf_config(GgufModel(path));
}

TEST_F(GgufModelTest, LlamaConfig) {
  const std::vector<TestTensor> embedding = {{{"token_embd.weight", {12, 8}, BlockType::f32}}};
  const json config = config_of(write(metadata("llama"), embedding));
  EXPECT_EQ(config["architectures"], json({"LlamaForCausalLM"}));
  EXPECT_EQ(config["vocab_size"], 12);  // what the embedding has
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(config["rope_theta"], 5e5);
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_EQ(config["eos_token_id"], 2);
  EXPECT_FALSE(config.contains("rope_scaling"));
  const ModelConfig resolved = read_config(directory_ / "model.gguf");
  EXPECT_EQ(resolved.vocab, 12);
  EXPECT_EQ(resolved.attention.kv_heads, 1);
  const json chat =
      config_of(write(metadata("llama", {{"tokenizer.ggml.eot_token_id", 9U}}), embedding));
  EXPECT_EQ(chat["eos_token_id"], json({2, 9}));
}

TEST_F(GgufModelTest, RopeFactorsOfLlama3BecomeItsScaling) {
  // 64 channels, theta 500000, factor 32.
  std::vector<float> factors;
  for (int i = 0; i < 32; ++i) {
    const double wavelength = 2 * M_PI * std::pow(5e5, i / 32.0);
    double factor = 1;
    if (wavelength > 8192) {
      factor = 32;
    } else if (wavelength > 2048) {
      const double smooth = (8192 / wavelength - 1) / 3;
      factor = 1 / ((1 - smooth) / 32 + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  for (const bool damaged : {false, true}) {
    if (damaged) factors[12] *= 1.1F;
    write_gguf(directory_ / "model.gguf", metadata("llama", {{".rope.dimension_count", 64U}}),
               {{"rope_freqs.weight", {32}, BlockType::f32}},
               [&](const GgufTensorSpec&, const GgufSink& sink) {
                 sink(std::as_bytes(std::span(factors)));
               });
    if (damaged) {
      EXPECT_THROW(config_of(directory_ / "model.gguf"), Error);
      continue;
    }
    const json scaling = config_of(directory_ / "model.gguf")["rope_scaling"];
    EXPECT_EQ(scaling["rope_type"], "llama3");
    EXPECT_EQ(scaling["factor"], 32);
    EXPECT_EQ(scaling["original_max_position_embeddings"], 8192);
    EXPECT_TRUE(open_weights(directory_ / "model.gguf").tensors().empty());
  }
}

TEST_F(GgufModelTest, DeepSeekConfigOfBothLayouts) {
  const std::vector<GgufEntry> common = {{".attention.kv_lora_rank", 512U},
                                         {".rope.dimension_count", 64U},
                                         {".expert_count", 64U},
                                         {".expert_used_count", 6U},
                                         {".expert_shared_count", 2U},
                                         {".expert_feed_forward_length", 1408U},
                                         {".leading_dense_block_count", 1U},
                                         {".expert_weights_scale", 1.0F},
                                         {".rope.scaling.type", std::string("yarn")},
                                         {".rope.scaling.factor", 40.0F},
                                         {".rope.scaling.original_context_length", 4096U},
                                         {".rope.scaling.yarn_log_multiplier", 0.0707F}};
  std::vector<GgufEntry> older = common, newer = common;
  older.push_back({".attention.key_length", 192U});
  older.push_back({".attention.value_length", 128U});
  newer.push_back({".attention.key_length", 576U});
  newer.push_back({".attention.value_length", 512U});
  newer.push_back({".attention.key_length_mla", 192U});
  newer.push_back({".attention.value_length_mla", 128U});
  json config = config_of(write(metadata("deepseek2", older), {}));
  EXPECT_EQ(config, config_of(write(metadata("deepseek2", newer), {})));
  EXPECT_EQ(config["architectures"], json({"DeepseekV2ForCausalLM"}));
  EXPECT_EQ(config["q_lora_rank"], nullptr);
  EXPECT_EQ(config["qk_nope_head_dim"], 128);
  EXPECT_EQ(config["v_head_dim"], 128);
  EXPECT_EQ(config["scoring_func"], "softmax");
  EXPECT_EQ(config["norm_topk_prob"], false);
  EXPECT_EQ(config["topk_method"], "greedy");
  EXPECT_EQ(config["rope_scaling"]["mscale_all_dim"], 0.707);
  EXPECT_EQ(config["rope_scaling"]["factor"], 40);
  newer.push_back({".expert_gating_func", 2U});
  newer.push_back({".expert_weights_norm", true});
  newer.push_back({".expert_group_count", 8U});
  newer.push_back({".expert_group_used_count", 4U});
  newer.push_back({".nextn_predict_layers", 1U});
  config = config_of(write(metadata("deepseek2", newer), {}));
  EXPECT_EQ(config["architectures"], json({"DeepseekV3ForCausalLM"}));
  EXPECT_EQ(config["scoring_func"], "sigmoid");
  EXPECT_EQ(config["n_group"], 8);
  EXPECT_EQ(config["topk_group"], 4);
  EXPECT_EQ(config["num_hidden_layers"], 1);
  EXPECT_EQ(config["num_nextn_predict_layers"], 1);
}

TEST_F(GgufModelTest, PartsAreOneModel) {
  const auto part = [&](int32_t index, int32_t total) {
    return metadata("qwen2", {{"split.no", static_cast<uint32_t>(index)},
                              {"split.count", 2U},
                              {"split.tensors.count", total}});
  };
  const std::vector<TestTensor> first = {{{"token_embd.weight", {10, 8}, BlockType::f32}}},
                                second = {{{"output_norm.weight", {8}, BlockType::f32}, 5}};
  const fs::path path = write(part(0, 2), first, "m-00001-of-00002.gguf");
  EXPECT_THROW(open_weights(path), Error);  // the other one is missing
  write(part(1, 2), second, "m-00002-of-00002.gguf");
  const WeightSource source = open_weights(path);
  EXPECT_EQ(source.tensors().size(), 2u);
  EXPECT_EQ(values(source.at("model.norm.weight"))[1], 6);
  EXPECT_THROW(open_weights(directory_ / "m-00002-of-00002.gguf"), Error);
  write(part(1, 2), first, "m-00002-of-00002.gguf");  // the same tensor twice
  EXPECT_THROW(open_weights(path), Error);
  write(part(0, 2), second, "m-00002-of-00002.gguf");  // not the second part
  EXPECT_THROW(open_weights(path), Error);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(GgufModelTest, RefusesWhatItCannotRead) {
  const fs::path path = write(metadata("llama"), {{{"token_embd.weight", {10, 8}, BlockType::f32}},
                                                  {{"output_norm.weight", {8}, BlockType::f32}}});
  const std::string whole = read_file(path);
  // The type of the first tensor, behind its name, rank and two extents.
  const size_t at = whole.find("token_embd.weight") + 17 + 4 + 16;
  std::string other = whole;
  other[at] = 22;
  write_file_atomic(path, other);
  EXPECT_NE(error_of([&] { open_weights(path); }).find("IQ2_S"), std::string::npos);
  other[at] = 8;  // rows of 8 are no blocks of 32
  write_file_atomic(path, other);
  EXPECT_NE(error_of([&] { open_weights(path); }).find("blocks of 32"), std::string::npos);
  write_file_atomic(path, whole.substr(0, whole.size() - 20));
  EXPECT_NE(error_of([&] { open_weights(path); }).find("cut off"), std::string::npos);
  write(metadata("falcon"), {});
  EXPECT_NE(error_of([&] { config_of(path); }).find("pangu-embedded"), std::string::npos);
  EXPECT_THROW(open_weights(path), Error);
  EXPECT_THROW(open_weights(directory_ / "none.gguf"), Error);
  write(metadata("llama", {{".expert_count", 8U}}), {});
  EXPECT_NE(error_of([&] { config_of(path); }).find("Mixtral"), std::string::npos);
}

std::vector<GgufEntry> replaced(std::vector<GgufEntry> entries, const std::string& key,
                                const GgufValue& value) {
  for (GgufEntry& entry : entries)
    if (entry.key == key) entry.value = value;
  return entries;
}

/// llama.cpp takes these numbers once or per layer.
TEST_F(GgufModelTest, OneValueForEachLayerMustBeTheSame) {
  using Values = std::vector<int32_t>;
  for (const char* name :
       {"attention.head_count", "attention.head_count_kv", "feed_forward_length"}) {
    const std::string key = std::string("llama.") + name;
    const auto with = [&](const GgufValue& value) {
      return write(replaced(metadata("llama"), key, value),
                   {{{"blk.1.attn_q.weight", {8, 8}, BlockType::f32}},
                    {{"blk.1.attn_k.weight", {8, 8}, BlockType::f32}}});
    };
    const auto keys = [](const fs::path& path) {
      return values(open_weights(path).at("model.layers.1.self_attn.k_proj.weight"));
    };
    const json config = gguf_config(GgufModel(with(2U)));
    const std::vector<float> rows = keys(with(2U));
    EXPECT_EQ(gguf_config(GgufModel(with(Values{2, 2}))), config) << key;
    EXPECT_EQ(keys(with(Values{2, 2})), rows) << key;
    EXPECT_NE(error_of([&] {
                gguf_config(GgufModel(with(Values{2, 1})));
              }).find(key + " is [2, 1]: layers that differ are not supported"),
              std::string::npos)
        << error_of([&] {
             gguf_config(GgufModel(with(Values{2, 1})));
           });
    for (const Values& values : {Values{}, Values{2}, Values{2, 2, 2}})
      EXPECT_NE(error_of([&] {
                  gguf_config(GgufModel(with(values)));
                }).find(fmt::format("{} has {} values", key, values.size())),
                std::string::npos);
    EXPECT_THROW(gguf_config(GgufModel(with(Values{-1, -1}))), Error);
  }
}

/// "found type 9 of type 4"
TEST_F(GgufModelTest, NamesTheTypesOfMetadata) {
  const auto error = [&](const char* key, const GgufValue& value) {
    const fs::path path = write(replaced(metadata("llama"), key, value), {});
    return error_of([&] { config_of(path); });
  };
  const std::tuple<const char*, GgufValue, const char*> cases[] = {
      {"llama.block_count", std::vector<int32_t>{2, 2},
       "block_count: expected an integer, found an array of int32"},
      {"llama.block_count", 2.0F, "expected an integer, found float32"},
      {"llama.feed_forward_length", std::vector<std::string>{"a"},
       "expected a list of integers, found an array of string"},
      {"llama.rope.freq_base", std::string("a"), "expected a number, found string"},
      {"llama.rope.freq_base", std::vector<float>{1},
       "expected a number, found an array of float32"},
      {"general.architecture", true, "expected a string, found bool"}};
  for (const auto& [key, value, expected] : cases)
    EXPECT_NE(error(key, value).find(expected), std::string::npos) << error(key, value);
}

}  // namespace
}  // namespace um
