// A GGUF file's metadata as the config.json of its family; see gguf_model.h.
#include <algorithm>
#include <cmath>

#include "core/block_types.h"
#include "core/error.h"
#include "core/json.h"
#include "models/gguf_model.h"
#include "models/gguf_names.h"
#include "text/vocabulary.h"

namespace um {
namespace {

constexpr const char* kOwnConfig = "ultramoe.config_json";
constexpr int64_t kNoExperts = 0;

/// What most of the weights are stored in; quantised ones are kept in bf16.
const char* dtype_name_of(const GgufModel& model) {
  const GgufTensor* embedding = model.find("blk.0.attn_output.weight");
  if (embedding == nullptr) embedding = model.find("token_embd.weight");
  if (embedding == nullptr) return "bfloat16";
  if (embedding->type == static_cast<uint32_t>(BlockType::f32)) return "float32";
  if (embedding->type == static_cast<uint32_t>(BlockType::f16)) return "float16";
  return "bfloat16";
}

int64_t vocabulary_of(const GgufModel& model) {
  const GgufTensor* embedding = model.find("token_embd.weight");
  if (embedding != nullptr && embedding->shape.size() == 2) return embedding->shape[0];
  return model.integer("vocab_size");
}

void set_token_ids(const GgufModel& model, Json& config) {
  const auto id = [&](const char* key) {
    return model.file().integer(fmt::format("tokenizer.ggml.{}_token_id", key));
  };
  const auto set = [&](const char* field, const char* key) {
    if (const auto found = id(key)) config[field] = *found;
  };
  set("bos_token_id", "bos");
  set("pad_token_id", "padding");
  set("unk_token_id", "unknown");
  if (model.file().has(kTextEndsKey)) {
    const std::vector<int32_t> ends = model.file().int32s(kTextEndsKey);
    config["eos_token_id"] = ends.empty() ? Json() : ends.size() == 1 ? Json(ends[0]) : Json(ends);
    return;
  }
  // A turn may end with another token than a text.
  const Json known = config.value("eos_token_id", Json());
  Json ends = known.is_array() ? known : Json::array();
  if (known.is_number()) ends.push_back(known);
  for (const char* key : {"eos", "eot", "eom"})
    if (const auto end = id(key); end && std::find(ends.begin(), ends.end(), *end) == ends.end())
      ends.push_back(*end);
  if (!ends.empty()) config["eos_token_id"] = ends.size() == 1 ? ends[0] : ends;
}

/// Llama 3 files state its rope scaling as a factor for each frequency (rope_freqs.weight), not as
/// the numbers it was made from. Only one pair of limits was ever published.
Json llama3_scaling(const GgufModel& model, double theta, int64_t head) {
  const GgufTensor& tensor = *model.find("rope_freqs.weight");
  UM_CHECK(head >= 2 && tensor.type == static_cast<uint32_t>(BlockType::f32) &&
               tensor.shape == std::vector<int64_t>{head / 2},
           "{}: tensor rope_freqs.weight: expected {} values in F32", model.name(), head / 2);
  std::vector<float> found(static_cast<size_t>(head / 2));
  decode_blocks(BlockType::f32, model.contents(tensor).data(), found.data(), found.size());
  const double factor = found.back();
  constexpr double kLow = 1, kHigh = 4, kOriginal = 8192;
  for (size_t i = 0; i < found.size(); ++i) {
    const double wavelength =
        2 * M_PI * std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head));
    const double smooth = std::clamp((kOriginal / wavelength - kLow) / (kHigh - kLow), 0.0, 1.0);
    const double expected = 1 / ((1 - smooth) / factor + smooth);
    UM_CHECK(std::abs(found[i] - expected) <= 1e-3 * expected,
             "{}: tensor rope_freqs.weight: factor {} is {}, expected {} as in Llama 3 with factor "
             "{} and an original context of {}",
             model.name(), i, found[i], expected, factor, kOriginal);
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", kLow},
          {"high_freq_factor", kHigh},
          {"original_max_position_embeddings", static_cast<int64_t>(kOriginal)}};
}

/// rope_theta and rope_scaling.
void set_rope(const GgufModel& model, double theta, int64_t head, Json& config) {
  theta = model.number_or("rope.freq_base", theta);
  config["rope_theta"] = theta;
  const auto type = model.file().string(model.architecture() + ".rope.scaling.type");
  if (model.find("rope_freqs.weight") != nullptr) {
    config["rope_scaling"] = llama3_scaling(model, theta, head);
    return;
  }
  if (!type || *type == "none") return;
  const double factor = model.number_or("rope.scaling.factor", 1);
  Json scaling = {
      {"rope_type", std::string(*type)}, {"type", std::string(*type)}, {"factor", factor}};
  if (model.has("rope.scaling.original_context_length"))
    scaling["original_max_position_embeddings"] =
        model.integer("rope.scaling.original_context_length");
  if (*type == "yarn") {
    scaling["beta_fast"] = model.number_or("rope.scaling.yarn_beta_fast", 32);
    scaling["beta_slow"] = model.number_or("rope.scaling.yarn_beta_slow", 1);
    if (model.has("rope.scaling.yarn_log_multiplier")) {
      // Written as a tenth of mscale_all_dim.
      const double tenth = model.number_or("rope.scaling.yarn_log_multiplier", 0);
      const double mscale = std::round(tenth * 10 * 1e6) / 1e6;
      scaling["mscale"] = scaling["mscale_all_dim"] = mscale;
    }
  }
  config["rope_scaling"] = std::move(scaling);
}

/// What all families share.
Json common_config(const GgufModel& model, const char* architecture, const char* type) {
  Json config = {
      {"architectures", {architecture}},
      {"model_type", type},
      {"hidden_act", "silu"},
      {"vocab_size", vocabulary_of(model)},
      {"hidden_size", model.integer("embedding_length")},
      {"num_hidden_layers", model.integer("block_count")},
      {"num_attention_heads", model.layers_integer("attention.head_count")},
      {"max_position_embeddings", model.integer("context_length")},
      {"rms_norm_eps", model.number_or("attention.layer_norm_rms_epsilon", 1e-6)},
      {"tie_word_embeddings", model.find("output.weight") == nullptr},
      {"torch_dtype", dtype_name_of(model)},
  };
  const int64_t heads = config["num_attention_heads"];
  UM_CHECK(heads > 0, "{}: {} attention heads", model.name(), heads);
  return config;
}

/// Grouped-query attention: llama, the Qwens, Pangu.
Json gqa_config(const GgufModel& model, const char* architecture, const char* type, double theta) {
  Json config = common_config(model, architecture, type);
  const int64_t heads = config["num_attention_heads"], hidden = config["hidden_size"];
  const int64_t head = model.integer_or("attention.key_length",
                                        model.integer_or("rope.dimension_count", hidden / heads));
  UM_CHECK(model.integer_or("attention.value_length", head) == head &&
               model.integer_or("rope.dimension_count", head) == head,
           "{}: keys of {}, values of {}, rotary channels {}: expected the same number",
           model.name(), head, model.integer_or("attention.value_length", head),
           model.integer_or("rope.dimension_count", head));
  config["head_dim"] = head;
  config["num_key_value_heads"] = model.layers_integer_or("attention.head_count_kv", heads);
  config["intermediate_size"] = model.layers_integer_or("feed_forward_length", 0);
  set_rope(model, theta, head, config);
  return config;
}

Json llama_config(const GgufModel& model) {
  UM_CHECK(model.integer_or("expert_count", kNoExperts) == kNoExperts,
           "{}: architecture llama with {} experts (Mixtral) is not supported", model.name(),
           model.integer("expert_count"));
  Json config = gqa_config(model, "LlamaForCausalLM", "llama", 10000);
  config["attention_bias"] = model.find("blk.0.attn_q.bias") != nullptr;
  return config;
}

Json pangu_embedded_config(const GgufModel& model) {
  Json config = gqa_config(model, "PanguEmbeddedForCausalLM", "PanguEmbedded", 10000);
  config["bias"] = model.find("blk.0.attn_q.bias") != nullptr;
  return config;
}

Json qwen_moe_config(const GgufModel& model) {
  Json config = gqa_config(model, "Qwen3MoeForCausalLM", "qwen3_moe", 1e6);
  config["attention_bias"] = false;
  config["num_experts"] = model.integer("expert_count");
  config["num_experts_per_tok"] = model.integer("expert_used_count");
  config["moe_intermediate_size"] = model.integer("expert_feed_forward_length");
  config["norm_topk_prob"] = true;  // llama.cpp does it whatever the file says
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = Json::array();
  return config;
}

/// Routing of deepseek2: softmax without a gating function or with 1 (V2), sigmoid with 2 (V3).
void set_deepseek_moe(const GgufModel& model, Json& config) {
  const int64_t gating = model.integer_or("expert_gating_func", 1);
  UM_CHECK(gating == 1 || gating == 2,
           "{}: deepseek2.expert_gating_func is {}, expected 1 (softmax) or 2 (sigmoid)",
           model.name(), gating);
  const bool v3 = gating == 2;
  config["architectures"] = {v3 ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"};
  config["model_type"] = v3 ? "deepseek_v3" : "deepseek_v2";
  config["scoring_func"] = v3 ? "sigmoid" : "softmax";
  config["n_routed_experts"] = model.integer("expert_count");
  config["num_experts_per_tok"] = model.integer("expert_used_count");
  config["n_shared_experts"] = model.integer_or("expert_shared_count", 0);
  config["moe_intermediate_size"] = model.integer("expert_feed_forward_length");
  config["moe_layer_freq"] = 1;
  config["first_k_dense_replace"] = model.integer_or("leading_dense_block_count", 0);
  const double scale = model.number_or("expert_weights_scale", 0);
  config["routed_scaling_factor"] = scale == 0 ? 1.0 : scale;
  config["norm_topk_prob"] = model.file().boolean("deepseek2.expert_weights_norm").value_or(false);
  const int64_t groups = model.integer_or("expert_group_count", v3 ? 8 : 1);
  config["n_group"] = groups;
  config["topk_group"] = model.integer_or("expert_group_used_count", v3 ? 4 : 1);
  config["topk_method"] = v3 ? "noaux_tc" : groups > 1 ? "group_limited_greedy" : "greedy";
}

/// Files before the split of kv_b state widths as multi-head attention, later ones as the
/// multi-query attention over latents that llama.cpp runs.
Json deepseek_config(const GgufModel& model) {
  Json config = common_config(model, "DeepseekV2ForCausalLM", "deepseek_v2");
  const int64_t mtp = model.integer_or("nextn_predict_layers", 0);
  UM_CHECK(mtp >= 0 && mtp < model.integer("block_count"), "{}: {} MTP layers of {}", model.name(),
           mtp, model.integer("block_count"));
  config["num_hidden_layers"] = model.integer("block_count") - mtp;
  config["num_nextn_predict_layers"] = mtp;
  const int64_t rope = model.integer("rope.dimension_count");
  const bool split = model.has("attention.key_length_mla");
  const int64_t key = model.integer(split ? "attention.key_length_mla" : "attention.key_length");
  config["num_key_value_heads"] = config["num_attention_heads"];
  config["kv_lora_rank"] = model.integer("attention.kv_lora_rank");
  const int64_t q_rank = model.integer_or("attention.q_lora_rank", 0);
  config["q_lora_rank"] = q_rank > 0 ? Json(q_rank) : Json(nullptr);
  config["qk_rope_head_dim"] = rope;
  config["qk_nope_head_dim"] = key - rope;
  config["v_head_dim"] =
      model.integer(split ? "attention.value_length_mla" : "attention.value_length");
  config["attention_bias"] = false;
  config["intermediate_size"] = model.layers_integer("feed_forward_length");
  set_deepseek_moe(model, config);
  set_rope(model, 10000, rope, config);
  return config;
}

/// Architectures of ours: the file carries its config.json.
Json own_config(const GgufModel& model) {
  const auto text = model.file().string(kOwnConfig);
  UM_CHECK(text, "{}: architecture {}: no {}", model.name(), model.architecture(), kOwnConfig);
  Json config = parse_json(*text, model.name() + ": " + kOwnConfig);
  UM_CHECK(config.is_object(), "{}: {}: expected an object", model.name(), kOwnConfig);
  return config;
}

Json family_config(const GgufModel& model) {
  const std::string& architecture = model.architecture();
  if (architecture == "llama") return llama_config(model);
  if (architecture == "qwen2") return gqa_config(model, "Qwen2ForCausalLM", "qwen2", 1e6);
  if (architecture == "qwen3") {
    Json config = gqa_config(model, "Qwen3ForCausalLM", "qwen3", 1e6);
    config["attention_bias"] = false;
    return config;
  }
  if (architecture == "qwen3moe") return qwen_moe_config(model);
  if (architecture == "pangu-embedded") return pangu_embedded_config(model);
  if (architecture == "deepseek2") return deepseek_config(model);
  if (find_gguf_names(architecture) != nullptr) return own_config(model);
  fail("{}: general.architecture is {}; known: {}", model.name(), quote(architecture),
       fmt::join(gguf_architectures(), ", "));
}

}  // namespace

Json gguf_config(const GgufModel& model) {
  Json config = family_config(model);
  set_token_ids(model, config);
  if (const auto trained_for = model.file().string("ultramoe.trained_for"))
    config["trained_for"] = *trained_for;
  return config;
}

}  // namespace um
