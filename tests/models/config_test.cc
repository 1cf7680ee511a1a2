// Configs in every published spelling, refusals, presets, and the golden counts of published
// models.
#include "models/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "models/count.h"

namespace um {
namespace {

namespace fs = std::filesystem;

ModelConfig preset(const std::string& name) {
  return read_config(fs::path(UM_SOURCE_DIR "/configs") / name);
}

Json preset_json(const std::string& name) {
  return read_json_file(fs::path(UM_SOURCE_DIR "/configs") / name / "config.json");
}

/// The message that refuses `json` after `key` was set to `value`; empty if it loads.
std::string refusal(Json json, const std::string& key, const Json& value) {
  json[key] = value;
  try {
    load_config(json, "c.json");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("c.json: ", 0), 0u) << error.what();
    return error.what();
  }
}

TEST(CountTest, UltraMoe718B) {
  const ModelConfig config = preset("pangu-ultra-moe-718b");
  EXPECT_EQ(attention_parameters(config), 196577280);
  EXPECT_EQ(dense_mlp_parameters(config), 424673280);
  EXPECT_EQ(expert_parameters(config), 47185920);
  EXPECT_EQ(moe_parameters(config), 12128747520);
  EXPECT_EQ(mtp_layer_parameters(config), 12443343360);
  const ParameterCount count = count_parameters(config);
  EXPECT_EQ(count.body(), 716734471680);
  EXPECT_EQ(count.embedding, 1179648000);
  EXPECT_EQ(count.total_one_side(), 717914119680);
  EXPECT_EQ(count.total(), 719093767680);
  EXPECT_EQ(count.total_with_mtp(), 719093767680 + 12443343360);
  EXPECT_EQ(count.active_one_side(), 39191846400);
  EXPECT_EQ(kv_bytes_per_token(config, DType::bf16), 70272);
}

TEST(CountTest, DeepSeekV3ByTheSameFormula) {
  ModelConfig config = preset("pangu-ultra-moe-718b");
  config.hidden = 7168;
  config.vocab = 129280;
  config.sandwich_norm = false;
  // Its published value has both embedding sides and the correction bias of 58 layers.
  EXPECT_EQ(count_parameters(config).total(), 671026404352);
  config.moe.router_bias = true;
  EXPECT_EQ(count_parameters(config).total(), 671026419200);
}

TEST(CountTest, ProMoe72B) {
  const ModelConfig config = preset("pangu-pro-moe-72b");
  const ParameterCount count = count_parameters(config);
  // 48 layers of 1,467,045,952 (biases and router scale included), final norm, two embeddings.
  EXPECT_EQ(count.total(), 71988781056);
  EXPECT_EQ(count.active(), 71988781056 - 48 * (64 - 8) * 3LL * 5120 * 1344);
  EXPECT_NEAR(static_cast<double>(count.total()), 71.99e9, 0.005e9);  // the paper's
  EXPECT_NEAR(static_cast<double>(count.active()), 16.50e9, 0.005e9);
}

TEST(CountTest, Embedded) {
  const ModelConfig seven = preset("pangu-embedded-7b");
  // The index's total_size, less the 34 redundant rotary tables of 64 f32 values.
  EXPECT_EQ(count_parameters(seven).total() * 2, 16061784576 - 34 * 64 * 4);
  EXPECT_EQ(kv_bytes_per_token(seven, DType::bf16), 139264);
  EXPECT_EQ(count_parameters(seven).active(), count_parameters(seven).total());
  ModelConfig one = preset("pangu-embedded-1b");
  EXPECT_NEAR(static_cast<double>(count_parameters(one).total()), 1.16e9, 0.005e9);
  one.tie_embeddings = false;
  EXPECT_NEAR(static_cast<double>(count_parameters(one).total()), 1.39e9, 0.006e9);
}

// What Hugging Face transformers counts in the same configs.
TEST(CountTest, ModelsOfOthers) {
  const std::pair<const char*, int64_t> totals[] = {
      {"smollm2-135m", 134515008},    {"llama-3.2-1b", 1235814400},
      {"qwen2.5-0.5b", 494032768},    {"qwen3-0.6b", 596049920},
      {"qwen3-30b-a3b", 30532122624}, {"deepseek-v2-lite", 15706484224},
      {"deepseek-v3", 671026419200},  {"pangu-r-72b", 73765885408}};
  for (const auto& [name, total] : totals)
    EXPECT_EQ(count_parameters(preset(name)).total(), total) << name;
  // As published: 3.3B active of Qwen3-30B-A3B, 37B of DeepSeek-V3, 15B of R-72B.
  EXPECT_NEAR(static_cast<double>(count_parameters(preset("qwen3-30b-a3b")).active()), 3.35e9, 5e7);
  EXPECT_NEAR(static_cast<double>(count_parameters(preset("deepseek-v3")).active()), 37.5e9, 5e8);
  EXPECT_NEAR(static_cast<double>(count_parameters(preset("pangu-r-72b")).active()), 15e9, 5e8);
  EXPECT_EQ(kv_bytes_per_token(preset("pangu-r-72b"), DType::bf16), 50 * 4 * (192 + 128) * 2);
}

// Values that shared/bench/torch_train_baseline.py prints: parameters and matrix_flops.
TEST(CountTest, BenchShapesMatchTheBaseline) {
  const ModelConfig small = preset("bench-d256"), large = preset("bench-d512");
  EXPECT_NEAR(static_cast<double>(count_parameters(small).total()), 12.6e6, 0.05e6);
  EXPECT_NEAR(static_cast<double>(count_parameters(small).active()), 6.7e6, 0.05e6);
  EXPECT_NEAR(static_cast<double>(count_parameters(large).total()), 61.8e6, 0.05e6);
  EXPECT_NEAR(static_cast<double>(count_parameters(large).active()), 28.8e6, 0.05e6);
  // 2 * (6 * attention + 589824 + 5 * (2048 + 589824) + 256 * 4096), attention of the MLA.
  const double attention = 256 * 128 + 128 * 4 * 64 + 256 * 96 + 64 * 4 * 96 + 4 * 64 * 256;
  const double matrices = 2 * (6 * attention + 589824 + 5 * (2048 + 589824) + 1048576);
  EXPECT_EQ(forward_flops(small, 256).matrices, matrices);
  EXPECT_EQ(forward_flops(small, 256).attention, 2.0 * 6 * 4 * 128 * 256 / 2);
  EXPECT_EQ(training_flops(small, 256), 3 * forward_flops(small, 256).trunk());
  EXPECT_NEAR(static_cast<double>(count_parameters(preset("bench-small")).total()), 398e6, 0.6e6);
  EXPECT_NEAR(static_cast<double>(count_parameters(preset("bench-large")).total()), 3417e6, 0.6e6);
}

// The golden checkpoints were written by other code: their tensors have to add up to our counts.
TEST(CountTest, GoldenCheckpointsAddUp) {
  const fs::path root = UM_SOURCE_DIR "/tests/golden";
  if (!fs::exists(root)) GTEST_SKIP() << root << " is missing";
  for (const fs::path& directory : fs::directory_iterator(root)) {
    if (!fs::exists(directory / "config.json")) continue;
    const ParameterCount count = count_parameters(read_config(directory));
    const CheckpointReader reader(directory);
    int64_t found = 0;
    for (const auto& [name, tensor] : reader.tensors()) {
      const bool copy = name.find("layers.") != std::string::npos &&
                        (name.ends_with("embed_tokens.weight") || name.ends_with("head.weight"));
      const bool table = name.ends_with("rotary_emb.inv_freq");
      if (!copy && !table) found += tensor->elements();
    }
    EXPECT_EQ(found, count.total_with_mtp()) << directory;
  }
}

TEST(CountTest, MtpCountsItsHead) {
  const ModelConfig config = preset("tiny-ultra");
  const ForwardFlops flops = forward_flops(config, 128);
  const double head = 2.0 * static_cast<double>(config.hidden * config.vocab);
  EXPECT_GT(flops.mtp_matrices, head);
  EXPECT_EQ(flops.mtp_attention * static_cast<double>(config.layers), flops.attention);
}

TEST(ConfigTest, EveryPresetSurvivesARoundTrip) {
  const std::vector<std::string> names = preset_names();
  EXPECT_GE(names.size(), 12u);
  for (const std::string& name : names) {
    const ModelConfig config = read_named_config(name);
    EXPECT_EQ(load_config(config_to_json(config), name), config) << name;
  }
  EXPECT_EQ(find_model(UM_SOURCE_DIR "/configs/tiny-pro"), UM_SOURCE_DIR "/configs/tiny-pro");
  EXPECT_EQ(read_named_config(UM_SOURCE_DIR "/configs/nano-ultra").hidden, 32);
  EXPECT_THROW(find_model("nano-ultra"), Error);  // no weights
  for (const char* bad : {"", "tiny-pro/../tiny-ultra", "nano-ultr"}) {
    EXPECT_THROW(read_named_config(bad), Error) << bad;
    EXPECT_THROW(find_model(bad), Error) << bad;
  }
  try {
    read_named_config("nano-ultr");
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean nano-ultra?"), std::string::npos);
  }
}

TEST(ConfigTest, OwnPresetsComeBeforeThoseBuiltIn) {
  const fs::path own = fs::temp_directory_path() / fmt::format("um_presets_{}", ::getpid());
  for (const char* name : {"nano-ultra", "mine"}) {
    fs::create_directories(own / name);
    Json json = preset_json("nano-ultra");
    json["vocab_size"] = 77;
    write_file_atomic(own / name / "config.json", json.dump());
  }
  ::setenv("UM_CONFIGS", own.c_str(), 1);
  EXPECT_EQ(read_named_config("nano-ultra").vocab, 77);
  EXPECT_EQ(read_named_config("mine").vocab, 77);
  EXPECT_EQ(read_named_config("tiny-ultra"), preset("tiny-ultra"));
  EXPECT_EQ(find_model("mine"), own / "mine");
  const std::vector<std::string> names = preset_names();
  EXPECT_EQ(std::count(names.begin(), names.end(), "nano-ultra"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "mine"), 1);
  ::unsetenv("UM_CONFIGS");
  fs::remove_all(own);
}

TEST(ConfigTest, UltraMoeWithoutLatentsHasGroupedQueries) {
  Json json = preset_json("tiny-ultra");
  json["kv_lora_rank"] = 0;
  json["num_key_value_heads"] = 3;
  EXPECT_THROW(load_config(json, "c.json"), Error);  // it has to be meant
  json["head_dim"] = 32;
  const ModelConfig config = load_config(json, "c.json");
  EXPECT_FALSE(config.attention.is_mla());
  EXPECT_EQ(config.attention.kv_heads, 3);
  EXPECT_EQ(config.attention.qk_dim(), 32);
  EXPECT_FALSE(config.attention.qkv_bias);
  EXPECT_EQ(load_config(config_to_json(config), "written"), config);
  json.erase("kv_lora_rank");
  EXPECT_THROW(load_config(json, "c.json"), Error);
}

TEST(ConfigTest, BothSpellingsOfUltraMoe) {
  const std::pair<const char*, const char*> spellings[] = {
      {"kv_lora_rank", "attention_kv_lora_dim"},
      {"q_lora_rank", "attention_q_lora_dim"},
      {"qk_rope_head_dim", "attention_qk_rope_dim"},
      {"qk_nope_head_dim", "attention_qk_dim"},
      {"v_head_dim", "attention_v_dim"},
      {"n_routed_experts", "num_routed_experts"},
      {"n_shared_experts", "num_shared_experts"},
      {"first_k_dense_replace", "num_dense_layers"},
      {"num_nextn_predict_layers", "num_mtp_layers"}};
  const Json deepseek = preset_json("pangu-ultra-moe-718b");
  Json first = deepseek;
  for (const auto& [ours, older] : spellings) {
    first[older] = first[ours];
    EXPECT_EQ(refusal(deepseek, older, deepseek[ours]), "") << older;
    EXPECT_NE(refusal(deepseek, older, 4).find("disagree"), std::string::npos) << older;
    first.erase(ours);
  }
  EXPECT_EQ(load_config(first, "v1"), load_config(deepseek, "v11"));
}

TEST(ConfigTest, ResolvedValues) {
  const ModelConfig ultra = preset("pangu-ultra-moe-718b");
  EXPECT_TRUE(ultra.attention.is_mla());
  EXPECT_TRUE(ultra.attention.rope_interleave);
  EXPECT_EQ(ultra.attention.qk_dim(), 192);
  EXPECT_FALSE(ultra.is_moe_layer(2));
  EXPECT_TRUE(ultra.is_moe_layer(3));
  EXPECT_NEAR(ultra.weight_init_std(), 0.0010331, 1e-7);  // docs/dssn.md
  EXPECT_NEAR(ultra.post_attn_gain(), 0.03623, 1e-5);     // section 2
  EXPECT_NEAR(ultra.post_mlp_gain(), 0.05531, 1e-5);
  EXPECT_EQ(ultra.embedding_init_std, 0.5);
  const ModelConfig pro = preset("pangu-pro-moe-72b");
  EXPECT_EQ(pro.moe.groups, 8);
  EXPECT_TRUE(pro.moe.router_scale);
  EXPECT_TRUE(pro.attention.qkv_bias);
  EXPECT_EQ(pro.attention.qk_rope_dim, 128);
  const ModelConfig embedded = preset("pangu-embedded-7b");
  EXPECT_EQ(embedded.eos, std::vector<int64_t>{45892});
  EXPECT_FALSE(embedded.is_moe_layer(33));
  EXPECT_EQ(embedded.attention.rope_theta, 1.6e7);
}

TEST(ConfigTest, SpellingsOfTransformers5) {
  Json json = preset_json("pangu-embedded-7b");
  const ModelConfig four = load_config(json, "four");
  json.erase("rope_theta");
  json.erase("torch_dtype");
  json["rope_parameters"] = {{"rope_theta", 16000000.0}, {"rope_type", "default"}};
  json["dtype"] = "bfloat16";
  EXPECT_EQ(load_config(json, "five"), four);
  EXPECT_NE(refusal(json, "rope_theta", 5.0), "");
  EXPECT_NE(refusal(json, "torch_dtype", "float16"), "");
  EXPECT_NE(refusal(json, "dtype", "int8"), "");
}

TEST(ConfigTest, Llama) {
  Json json = preset_json("tiny-embedded");
  json.erase("bias");
  json["architectures"] = {"LlamaForCausalLM"};
  json["eos_token_id"] = {2, 3};
  ModelConfig config = load_config(json, "c");
  EXPECT_FALSE(config.attention.qkv_bias);
  EXPECT_EQ(config.eos, (std::vector<int64_t>{2, 3}));
  json["attention_bias"] = true;
  json["head_dim"] = 64;  // not hidden / heads
  config = load_config(json, "c");
  EXPECT_TRUE(config.attention.qkv_bias && config.attention.o_bias);
  EXPECT_EQ(config.attention.qk_rope_dim, 64);
  EXPECT_EQ(load_config(config_to_json(config), "c"), config);
}

/// A config of a golden case, which has the published spelling of its family.
Json golden_json(const std::string& name) {
  return read_json_file(fs::path(UM_SOURCE_DIR "/tests/golden") / name / "config.json");
}

TEST(ConfigTest, EveryGoldenConfigSurvivesARoundTrip) {
  for (const auto& entry : fs::directory_iterator(UM_SOURCE_DIR "/tests/golden")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    const ModelConfig config = read_config(entry.path());
    EXPECT_EQ(load_config(config_to_json(config), "written"), config) << entry.path();
  }
}

TEST(ConfigTest, RopeScaling) {
  const Json llama = golden_json("llama3_rope");
  const RopeScaling three = load_config(llama, "c").attention.rope_scaling;
  EXPECT_EQ(three.kind, RopeKind::llama3);
  EXPECT_EQ(three.factor, 8);
  EXPECT_EQ(three.original_positions, 32);
  Json four = llama;  // the same as transformers 4 writes it
  four["rope_scaling"] = four["rope_parameters"];
  four["rope_theta"] = four["rope_scaling"]["rope_theta"];
  four["rope_scaling"].erase("rope_theta");
  four.erase("rope_parameters");
  EXPECT_EQ(load_config(four, "c"), load_config(llama, "c"));
  four["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_THROW(load_config(four, "c"), Error);  // they disagree
  four.erase("rope_parameters");
  const auto scaling = [&](const char* key, const Json& value) {
    Json changed = four["rope_scaling"];
    changed[key] = value;
    return refusal(four, "rope_scaling", changed);
  };
  EXPECT_EQ(scaling("factor", 2.0), "");
  for (const Json& bad : {Json(0.5), Json(-1), Json("x"), Json(1e300)})
    EXPECT_NE(scaling("factor", bad), "") << bad;
  EXPECT_NE(scaling("low_freq_factor", 5.0), "");  // above high_freq_factor
  EXPECT_NE(scaling("original_max_position_embeddings", 0), "");
  EXPECT_NE(scaling("rope_type", "longrope"), "");
  EXPECT_NE(scaling("type", "yarn").find("disagree"), std::string::npos);
  EXPECT_NE(scaling("partial_rotary_factor", 0.5), "");
}

TEST(ConfigTest, RefusesWhatOtherFamiliesCannotDo) {
  const Json qwen2 = golden_json("qwen2_yarn"), moe = golden_json("qwen3_moe");
  const Json v2 = golden_json("deepseek_v2"), v3 = golden_json("deepseek_v3");
  EXPECT_NE(refusal(qwen2, "use_sliding_window", true), "");
  EXPECT_EQ(refusal(moe, "mlp_only_layers", {0, 1}), "");
  EXPECT_NE(refusal(moe, "mlp_only_layers", {1}).find("mlp_only_layers"), std::string::npos);
  EXPECT_NE(refusal(moe, "mlp_only_layers", 3), "");
  EXPECT_NE(refusal(moe, "decoder_sparse_step", 2), "");
  EXPECT_NE(refusal(v2, "topk_method", "noaux_tc"), "");
  EXPECT_NE(refusal(v2, "scoring_func", "sigmoid"), "");
  EXPECT_NE(refusal(v3, "topk_method", "greedy"), "");
  EXPECT_NE(refusal(v3, "n_group", 5), "");     // does not divide 12 experts
  EXPECT_NE(refusal(v3, "topk_group", 5), "");  // of 4 groups
  EXPECT_NE(refusal(v3, "moe_layer_freq", 2), "");
  EXPECT_NE(refusal(v3, "num_experts_per_tok", 7).find("per token"), std::string::npos);
  EXPECT_EQ(load_config(v3, "c").moe.limit_groups, 2);
  Json all = v3;
  all["topk_group"] = 4;
  EXPECT_EQ(load_config(all, "c").moe.groups, 1);  // no limit: no groups
}

TEST(ConfigTest, TwoAreCalledPanguProMoE) {
  for (const auto& [name, family] :
       {std::pair{"tiny-pro", Family::pro_moe}, std::pair{"pangu-r-72b", Family::pro_moe_v2}}) {
    Json json = preset_json(name);
    json["model_type"] = "PanguProMoE";
    json.erase("architectures");
    EXPECT_EQ(load_config(json, "c").family, family) << name;
  }
}

TEST(ConfigTest, PanguR72B) {
  const Json json = preset_json("pangu-r-72b");
  const ModelConfig config = load_config(json, "c");
  EXPECT_EQ(config.attention.qk_dim(), 192);
  EXPECT_TRUE(config.attention.rope_first && config.attention.rope_interleave);
  EXPECT_TRUE(config.attention.k_norm && !config.attention.q_norm);
  EXPECT_EQ(config.attention.sinks, 128);
  EXPECT_NE(refusal(json, "param_sink_number", 100).find("multiples of 64"), std::string::npos);
  EXPECT_NE(refusal(json, "param_sink_number", 0), "");
  EXPECT_NE(refusal(json, "param_sink_number", nullptr), "");
  EXPECT_NE(refusal(json, "param_sink_scalar", 4), "");
  EXPECT_NE(refusal(json, "attention_bias", true), "");
  EXPECT_NE(refusal(json, "qk_rope_dim", 63), "");
  EXPECT_NE(refusal(json, "head_dim", 72), "");
}

TEST(ConfigTest, OpenPangu2) {
  const Json json = preset_json("nano-openpangu2");
  const ModelConfig config = load_config(json, "c");
  EXPECT_EQ(config.streams, 4);
  EXPECT_EQ(config.attention.windows, (std::vector<int64_t>{0, 40, 70, 0, 100}));
  EXPECT_EQ(config.attention.index_layers, (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(config.attention.conv_width(), 16 + 16 + 32);
  EXPECT_FALSE(config.attention.rope_interleave);
  // 92B with 6B active, as published; four streams of 2,560 channels.
  const ParameterCount flash = count_parameters(preset("openpangu-2.0-flash"));
  EXPECT_NEAR(static_cast<double>(flash.total()), 91.6e9, 5e7);
  EXPECT_NEAR(static_cast<double>(flash.active()), 5.8e9, 5e7);
  EXPECT_EQ(flash.streams, 46 * 2 * (24 * 10240 + 10240 + 3 + 24) + 4 * 10240 + 10240 + 1 + 4);
  // Another spelling, one latent for all heads, and the layers without a window by default.
  Json other = json;
  other.erase("rope_interleave");
  other.erase("dsa_layers");
  other["rope_interleaved"] = false;
  other["num_key_value_heads"] = 1;
  EXPECT_EQ(load_config(other, "c"), config);
  other.erase("swa_layers");
  other.erase("sliding_window_list");
  other["dsa_layers"] = {0, 3};
  other["layer_types"] = {"full_attention", "sliding_attention", "sliding_attention",
                          "full_attention"};
  other["sliding_window"] = 40;
  EXPECT_EQ(load_config(other, "c").attention.windows, (std::vector<int64_t>{0, 40, 40, 0, 0}));
  EXPECT_NE(refusal(other, "sliding_window", nullptr), "");
  EXPECT_NE(refusal(other, "layer_types", {"linear_attention"}), "");
  other = json;
  other.erase("num_nextn_predict_layers");  // the heads' windows may stay
  EXPECT_EQ(load_config(other, "c").attention.windows, (std::vector<int64_t>{0, 40, 70, 0}));
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, Json>>{{"swa_layers", {1, 2, 9999}},
                                                 {"swa_layers", {1, 2}},
                                                 {"swa_layers", {1, "2", 4}},
                                                 {"swa_layers", nullptr},
                                                 {"sliding_window_list", {40, 0, 100}},
                                                 {"dsa_layers", {0, 1}},
                                                 {"dsa_layers", {0, 4}},
                                                 {"dsa_layers", {0, 0}},
                                                 {"index_topk", -1},
                                                 {"index_topk", nullptr},
                                                 {"param_sink_with_value", false},
                                                 {"router_sliding_window", nullptr},
                                                 {"index_head_dim", 4},
                                                 {"router_sliding_window", 9},
                                                 {"router_sliding_window", 1},
                                                 {"mhc_num_stream", 9},
                                                 {"mhc_recur_norm", 65},
                                                 {"block_post_layernorm_idx", {4}},
                                                 {"param_sink_number", 63},
                                                 {"q_lora_rank", nullptr}})
    EXPECT_NE(refusal(json, key, value), "") << key << " = " << value;
}

TEST(ConfigTest, RefusesUnknownAndUnsupported) {
  const Json ultra = preset_json("nano-ultra"), dense = preset_json("tiny-embedded");
  const std::string unknown = refusal(ultra, "architectures", {"PanguUltraMoE"});
  EXPECT_EQ(
      unknown.rfind("c.json: field \"architectures\": expected one of PanguUltraMoEForCausalLM, "
                    "PanguProMoEForCausalLM, ",
                    0),
      0u);
  EXPECT_TRUE(unknown.ends_with(", found \"PanguUltraMoE\"")) << unknown;
  EXPECT_EQ(refusal(ultra, "architectures", nullptr), "");  // there is model_type
  Json nameless = ultra;
  nameless.erase("architectures");
  EXPECT_NE(refusal(nameless, "model_type", "gpt2"), "");
  EXPECT_NE(refusal(nameless, "model_type", nullptr), "");
  EXPECT_NE(refusal(ultra, "architectures", "PanguUltraMoEForCausalLM"), "");
  EXPECT_NE(refusal(dense, "quantization_config", {{"quant_method", "fp8"}}), "");
  EXPECT_NE(refusal(dense, "rope_scaling", {{"type", "dynamic"}, {"factor", 40}}).find("dynamic"),
            std::string::npos);
  EXPECT_NE(refusal(dense, "rope_parameters", {{"rope_type", "llama3"}}).find("factor"),
            std::string::npos);
  EXPECT_NE(refusal(dense, "sliding_window", 4096), "");
  EXPECT_NE(refusal(dense, "layer_types", {"full_attention", "sliding_attention"}), "");
  EXPECT_NE(refusal(ultra, "n_group", 4), "");
  EXPECT_NE(refusal(ultra, "attention_bias", true), "");
  EXPECT_NE(refusal(dense, "hidden_act", "gelu"), "");
  EXPECT_EQ(refusal(dense, "rope_scaling", nullptr), "");
  EXPECT_EQ(refusal(dense, "some_other_field", {1, 2}), "");
}

TEST(ConfigTest, RefusesAbsurdAndContradictory) {
  const Json ultra = preset_json("nano-ultra"), pro = preset_json("tiny-pro");
  const Json dense = preset_json("tiny-embedded");
  EXPECT_EQ(refusal(ultra, "hidden_size", "x"),
            "c.json: field \"hidden_size\": expected an integer from 1 to 1048576, found \"x\"");
  for (const Json& bad : {Json(0), Json(-1), Json(1.5), Json(1e300), Json(true), Json(nullptr),
                          Json(int64_t{1} << 40), Json(UINT64_MAX)}) {
    for (const char* key : {"hidden_size", "vocab_size", "num_hidden_layers", "kv_lora_rank",
                            "num_attention_heads", "moe_intermediate_size"}) {
      EXPECT_NE(refusal(ultra, key, bad), "") << key << " = " << bad;
    }
  }
  EXPECT_NE(refusal(ultra, "num_experts_per_tok", 5), "");
  Json many = ultra;  // each is as large as it may be; together they are absurd
  many["num_hidden_layers"] = 4096;
  EXPECT_NE(refusal(many, "n_routed_experts", 65536).find("experts of all layers together"),
            std::string::npos);
  EXPECT_NE(refusal(ultra, "qk_rope_head_dim", 7).find("even"), std::string::npos);
  EXPECT_NE(refusal(ultra, "first_k_dense_replace", 4), "");
  EXPECT_NE(refusal(ultra, "num_key_value_heads", 1), "");
  EXPECT_NE(refusal(ultra, "eos_token_id", 512), "");
  EXPECT_NE(refusal(ultra, "eos_token_id", {1, 512}), "");
  EXPECT_NE(refusal(ultra, "eos_token_id", std::vector<int>(1025, 1)).find("at most 1024 ids"),
            std::string::npos);
  EXPECT_NE(refusal(ultra, "rms_norm_eps", -1), "");
  EXPECT_NE(refusal(ultra, "rope_theta", 0), "");
  EXPECT_NE(refusal(ultra, "routed_scaling_factor", 0), "");
  EXPECT_NE(refusal(ultra, "sandwich_norm", 1), "");
  EXPECT_NE(refusal(ultra, "scoring_func", "tanh"), "");
  EXPECT_NE(refusal(pro, "num_expert_groups", 3).find("groups"), std::string::npos);
  EXPECT_NE(refusal(pro, "num_experts", 9).find("groups"), std::string::npos);
  EXPECT_NE(refusal(dense, "num_key_value_heads", 4).find("divide"), std::string::npos);
  EXPECT_NE(refusal(dense, "num_attention_heads", 7).find("multiple"), std::string::npos);
  Json huge = ultra;
  for (const char* key : {"hidden_size", "moe_intermediate_size"}) huge[key] = 1 << 20;
  huge["n_routed_experts"] = 1 << 16;
  EXPECT_NE(refusal(huge, "num_hidden_layers", 4096).find("absurd size"), std::string::npos);
  EXPECT_THROW(read_config("/nonexistent"), Error);
  EXPECT_THROW(load_config(Json::array(), "c"), Error);
}

TEST(ConfigTest, ReadsTheRealStoriesConfig) {
  const char* shared = std::getenv("UM_SHARED");
  const fs::path root = shared != nullptr ? shared : UM_SOURCE_DIR "/../shared";
  const fs::path directory = root / "models/stories260K";
  if (!fs::exists(directory)) GTEST_SKIP() << directory << " is missing (set UM_SHARED)";
  const ModelConfig config = read_config(directory);
  EXPECT_EQ(config.family, Family::llama);
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(count_parameters(config).total(), 260032);
}

}  // namespace
}  // namespace um
