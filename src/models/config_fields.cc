// See config_fields.h.
#include "models/config_fields.h"

#include <algorithm>

#include "core/error.h"

namespace um::fields {

std::string spelling(const JsonObject& config, Keys keys) {
  std::string used;
  for (const char* key : keys) {
    if (!config.has(key)) continue;
    UM_CHECK(used.empty() || *config.find(used) == *config.find(key),
             "{}: fields \"{}\" and \"{}\" mean the same and disagree: {} and {}", config.where(),
             used, key, describe(*config.find(used)), describe(*config.find(key)));
    if (used.empty()) used = key;
  }
  return used.empty() ? *keys.begin() : used;
}

int64_t integer(const JsonObject& config, Keys keys, int64_t min, int64_t max) {
  return config.integer(spelling(config, keys), min, max);
}

int64_t integer_or(const JsonObject& config, Keys keys, int64_t fallback, int64_t min,
                   int64_t max) {
  return config.integer_or(spelling(config, keys), fallback, min, max);
}

void only(const JsonObject& config, const char* key, const Json& supported) {
  const Json* value = config.find(key);
  UM_CHECK(value == nullptr || *value == supported,
           "{}: field \"{}\": only {} is supported, found {}", config.where(), key,
           describe(supported), describe(*value));
}

std::vector<int64_t> read_eos(const JsonObject& config, int64_t vocab) {
  constexpr size_t kMaxEnds = 1024;  // no model has more than a few
  const Json* value = config.find("eos_token_id");
  std::vector<int64_t> ids;
  if (value == nullptr) return ids;
  const Json list = value->is_array() ? *value : Json::array({*value});
  UM_CHECK(list.size() <= kMaxEnds, "{}: eos_token_id: expected at most {} ids, found {}",
           config.where(), kMaxEnds, list.size());
  for (const Json& id : list) {
    UM_CHECK(id.is_number_integer() && id >= 0 && id < vocab,
             "{}: eos_token_id: expected a token id below {}, found {}", config.where(), vocab,
             describe(id));
    if (std::find(ids.begin(), ids.end(), id.get<int64_t>()) == ids.end())
      ids.push_back(id.get<int64_t>());
  }
  return ids;
}

namespace {

DType read_dtype(const JsonObject& config) {
  const std::string key = spelling(config, {"dtype", "torch_dtype"});
  const std::string name = config.string_or(key, "float32");
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == dtype_config_name(dtype)) return dtype;
  }
  config.wrong(key, "float32, bfloat16 or float16");
}

}  // namespace

ModelConfig common(const JsonObject& config, Family family, const Defaults& defaults) {
  ModelConfig c;
  c.family = family;
  c.vocab = config.integer("vocab_size", 1, kMaxVocab);
  c.hidden = config.integer("hidden_size", 1, kMaxWidth);
  c.layers = config.integer("num_hidden_layers", 1, kMaxLayers);
  c.max_positions = config.integer("max_position_embeddings", 1, kMaxPositions);
  c.norm_eps = config.number_or("rms_norm_eps", defaults.norm_eps, 0.0, 0.1);
  c.tie_embeddings = config.boolean_or("tie_word_embeddings", false);
  c.initializer_range = config.number_or("initializer_range", 0.02, 0.0, 10.0);
  c.bos = config.integer_or("bos_token_id", -1, -1, c.vocab - 1);
  c.pad = config.integer_or("pad_token_id", -1, -1, c.vocab - 1);
  c.eos = read_eos(config, c.vocab);
  c.dtype = read_dtype(config);
  const std::string rule =
      config.string_or("init_rule", defaults.init == InitRule::tiny ? "tiny" : "normal");
  if (rule != "tiny" && rule != "normal") config.wrong("init_rule", "tiny or normal");
  c.init = rule == "tiny" ? InitRule::tiny : InitRule::normal;
  const double embedding_std = c.init == InitRule::tiny ? 0.5 : c.initializer_range;
  c.embedding_init_std = config.number_or("embedding_init_std", embedding_std, 0.0, 100.0);
  return c;
}

namespace {

RopeKind read_rope_kind(const JsonObject& rope) {
  const std::string key = spelling(rope, {"rope_type", "type"});
  const std::string name = rope.string_or(key, "default");
  if (name == "default") return RopeKind::plain;
  if (name == "linear") return RopeKind::linear;
  if (name == "llama3") return RopeKind::llama3;
  if (name == "yarn") return RopeKind::yarn;
  fail("{}: field \"{}\": default, linear, llama3 and yarn are supported, found {}", rope.where(),
       key, quote(name));
}

RopeScaling read_scaling(const JsonObject& config, const JsonObject& rope) {
  RopeScaling s;
  s.kind = read_rope_kind(rope);
  if (s.kind == RopeKind::plain) {
    only(rope, "factor", 1.0);
    return s;
  }
  constexpr const char* kOriginal = "original_max_position_embeddings";
  const int64_t positions = config.integer("max_position_embeddings", 1, kMaxPositions);
  if (s.kind != RopeKind::linear)
    s.original_positions = rope.integer_or(
        kOriginal, config.integer_or(kOriginal, positions, 1, kMaxPositions), 1, kMaxPositions);
  if (s.kind == RopeKind::yarn && !rope.has("factor"))
    s.factor = static_cast<double>(positions) / static_cast<double>(s.original_positions);
  else
    s.factor = rope.number("factor", 1.0, 1e6);
  if (s.kind == RopeKind::llama3) {
    s.low_freq = rope.number("low_freq_factor", 1e-3, 1e6);
    s.high_freq = rope.number("high_freq_factor", 1e-3, 1e6);
  }
  if (s.kind != RopeKind::yarn) return s;
  s.beta_fast = rope.number_or("beta_fast", s.beta_fast, 1e-3, 1e6);
  s.beta_slow = rope.number_or("beta_slow", s.beta_slow, 1e-3, 1e6);
  s.truncate = rope.boolean_or("truncate", s.truncate);
  s.mscale = rope.number_or("mscale", 0.0, 0.0, 100.0);
  s.mscale_all_dim = rope.number_or("mscale_all_dim", 0.0, 0.0, 100.0);
  s.attention_factor = rope.number_or("attention_factor", 0.0, 0.0, 100.0);
  return s;
}

}  // namespace

void read_rope(const JsonObject& config, double theta, AttentionConfig& attention) {
  theta = config.number_or("rope_theta", theta, 1.0, kMaxTheta);
  bool scaled = false;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(key)) continue;
    const JsonObject rope = config.object(key);
    only(rope, "partial_rotary_factor", 1.0);
    const RopeScaling scaling = read_scaling(config, rope);
    UM_CHECK(!scaled || scaling == attention.rope_scaling,
             "{}: fields \"rope_scaling\" and \"rope_parameters\" disagree", config.where());
    attention.rope_scaling = scaling;
    scaled = true;
    if (!rope.has("rope_theta")) continue;
    const double found = rope.number("rope_theta", 1.0, kMaxTheta);
    UM_CHECK(!config.has("rope_theta") || found == theta,
             "{}: field \"rope_theta\": {} here, {} in \"{}\"", config.where(), theta, found, key);
    theta = found;
  }
  attention.rope_theta = theta;
  attention.rope_interleave = config.boolean_or("rope_interleave", attention.rope_interleave);
}

void write_rope(const AttentionConfig& attention, Json& out) {
  const RopeScaling& s = attention.rope_scaling;
  out["rope_theta"] = attention.rope_theta;
  out["rope_interleave"] = attention.rope_interleave;
  if (s.kind == RopeKind::plain) return;
  Json rope = {{"factor", s.factor}};
  if (s.kind != RopeKind::linear) rope["original_max_position_embeddings"] = s.original_positions;
  if (s.kind == RopeKind::linear) rope["rope_type"] = "linear";
  if (s.kind == RopeKind::llama3) {
    rope["rope_type"] = "llama3";
    rope["low_freq_factor"] = s.low_freq;
    rope["high_freq_factor"] = s.high_freq;
  }
  if (s.kind == RopeKind::yarn) {
    rope["rope_type"] = "yarn";
    rope["beta_fast"] = s.beta_fast;
    rope["beta_slow"] = s.beta_slow;
    if (!s.truncate) rope["truncate"] = false;
    if (s.mscale > 0) rope["mscale"] = s.mscale;
    if (s.mscale_all_dim > 0) rope["mscale_all_dim"] = s.mscale_all_dim;
    if (s.attention_factor > 0) rope["attention_factor"] = s.attention_factor;
  }
  out["rope_scaling"] = rope;
}

AttentionConfig read_mla(const JsonObject& config, double theta) {
  AttentionConfig a;
  a.heads = config.integer("num_attention_heads", 1, kMaxHeads);
  a.kv_heads = config.integer_or("num_key_value_heads", a.heads, a.heads, a.heads);
  a.kv_lora_rank = integer(config, {"kv_lora_rank", "attention_kv_lora_dim"}, 1, kMaxWidth);
  a.q_lora_rank = integer_or(config, {"q_lora_rank", "attention_q_lora_dim"}, 0, 0, kMaxWidth);
  a.qk_rope_dim = integer(config, {"qk_rope_head_dim", "attention_qk_rope_dim"}, 2, kMaxHeadDim);
  a.qk_nope_dim = integer(config, {"qk_nope_head_dim", "attention_qk_dim"}, 1, kMaxHeadDim);
  a.v_dim = integer(config, {"v_head_dim", "attention_v_dim"}, 1, kMaxHeadDim);
  only(config, "attention_bias", false);
  a.rope_interleave = true;
  read_rope(config, theta, a);
  return a;
}

void write_mla(const AttentionConfig& a, Json& out) {
  out["attention_bias"] = false;
  out["kv_lora_rank"] = a.kv_lora_rank;
  out["q_lora_rank"] = a.q_lora_rank > 0 ? Json(a.q_lora_rank) : Json(nullptr);
  out["qk_rope_head_dim"] = a.qk_rope_dim;
  out["qk_nope_head_dim"] = a.qk_nope_dim;
  out["v_head_dim"] = a.v_dim;
}

AttentionConfig read_gqa(const JsonObject& config, int64_t hidden, double theta, bool bias) {
  AttentionConfig a;
  a.heads = config.integer("num_attention_heads", 1, kMaxHeads);
  a.kv_heads = config.integer_or("num_key_value_heads", a.heads, 1, a.heads);
  UM_CHECK(config.has("head_dim") || hidden % a.heads == 0,
           "{}: \"hidden_size\" {} is not a multiple of \"num_attention_heads\" {}, and there is "
           "no \"head_dim\"",
           config.where(), hidden, a.heads);
  a.qk_rope_dim = config.integer_or("head_dim", hidden / a.heads, 2, kMaxHeadDim);
  a.v_dim = a.qk_rope_dim;
  a.qkv_bias = a.o_bias = config.boolean_or(spelling(config, {"attention_bias", "bias"}), bias);
  read_rope(config, theta, a);
  return a;
}

void read_dense_layers(const JsonObject& config, ModelConfig& c) {
  c.dense_layers = c.layers;
  c.dense_width = config.integer("intermediate_size", 1, kMaxWidth);
}

void read_deepseek_layers(const JsonObject& config, ModelConfig& c) {
  c.dense_layers = integer(config, {"first_k_dense_replace", "num_dense_layers"}, 0, c.layers);
  if (c.dense_layers > 0) c.dense_width = config.integer("intermediate_size", 1, kMaxWidth);
  c.mtp_layers =
      integer_or(config, {"num_nextn_predict_layers", "num_mtp_layers"}, 0, 0, kMaxMtpLayers);
  only(config, "moe_layer_freq", 1);
  MoeConfig& m = c.moe;
  m.experts = integer(config, {"n_routed_experts", "num_routed_experts"}, 1, kMaxExperts);
  m.top_k = config.integer("num_experts_per_tok", 1, m.experts);
  m.expert_width = config.integer("moe_intermediate_size", 1, kMaxWidth);
  m.shared_experts = integer_or(config, {"n_shared_experts", "num_shared_experts"}, 0, 0, 1024);
  m.shared_width = m.shared_experts * m.expert_width;
}

void write_deepseek_layers(const ModelConfig& c, Json& out) {
  out["first_k_dense_replace"] = c.dense_layers;
  out["intermediate_size"] = c.dense_width;
  out["num_nextn_predict_layers"] = c.mtp_layers;
  out["n_routed_experts"] = c.moe.experts;
  out["num_experts_per_tok"] = c.moe.top_k;
  out["moe_intermediate_size"] = c.moe.expert_width;
  out["n_shared_experts"] = c.moe.shared_experts;
  out["routed_scaling_factor"] = c.moe.scaling;
  out["norm_topk_prob"] = c.moe.norm_topk;
  out["scoring_func"] = c.moe.score == RouterScore::sigmoid ? "sigmoid" : "softmax";
}

void read_pangu_layers(const JsonObject& config, bool sandwich, double scaling, ModelConfig& c) {
  read_deepseek_layers(config, c);
  for (const char* key : {"n_group", "topk_group"}) only(config, key, 1);
  c.sandwich_norm = config.boolean_or("sandwich_norm", sandwich);
  c.c_attn = config.number_or("dssn_c_attn", c.c_attn, 0.0, 1000.0);
  c.c_mlp = config.number_or("dssn_c_mlp", c.c_mlp, 0.0, 1000.0);
  MoeConfig& m = c.moe;
  m.score = RouterScore::sigmoid;
  m.scaling = config.number_or("routed_scaling_factor", scaling, 0.0, 1e6);
  m.norm_topk = config.boolean_or("norm_topk_prob", true);
  m.router_bias = config.boolean_or("router_enable_expert_bias", false);
}

void write_pangu_layers(const ModelConfig& c, Json& out) {
  write_deepseek_layers(c, out);
  out["sandwich_norm"] = c.sandwich_norm;
  out["dssn_c_attn"] = c.c_attn;
  out["dssn_c_mlp"] = c.c_mlp;
  out["router_enable_expert_bias"] = c.moe.router_bias;
}

}  // namespace um::fields
