// Reading a config.json: one function per family over shared readers of attention, rope and ids.
// Writing is in config_write.cc, presets in presets.cc; see config.h.
#include "models/config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "models/count.h"
#include "models/gguf_model.h"

namespace um {
namespace {

// Limits of a sane model: several times the largest published, and small enough that products of
// three of them cannot overflow.
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxMtpLayers = 64;
constexpr int64_t kMaxHeads = int64_t{1} << 14;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxExperts = int64_t{1} << 16;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr double kMaxTheta = 1e15;

constexpr std::array kArchitectures{
    "PanguUltraMoEForCausalLM",
    "PanguProMoEForCausalLM",
    "PanguEmbeddedForCausalLM",
    "LlamaForCausalLM",
};

/// Spellings of one field, the one that we write first.
using Keys = std::initializer_list<const char*>;

/// The spelling that the config uses; the first if it uses none. Two that disagree are an error.
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

/// A field whose other values ask for something that we cannot run.
void only(const JsonObject& config, const char* key, const Json& supported) {
  const Json* value = config.find(key);
  UM_CHECK(value == nullptr || *value == supported,
           "{}: field \"{}\": only {} is supported, found {}", config.where(), key,
           describe(supported), describe(*value));
}

void refuse_unsupported(const JsonObject& config) {
  UM_CHECK(!config.has("quantization_config"),
           "{}: field \"quantization_config\": quantised checkpoints are not supported here",
           config.where());
  only(config, "hidden_act", "silu");
  only(config, "mlp_bias", false);
  only(config, "partial_rotary_factor", 1.0);
  only(config, "sliding_window", nullptr);
  only(config, "moe_layer_freq", 1);
  only(config, "decoder_sparse_step", 1);
  only(config, "mlp_only_layers", Json::array());
  only(config, "n_group", 1);
  only(config, "topk_group", 1);
}

/// transformers 4 has `rope_theta` and `rope_scaling`, transformers 5 `rope_parameters`.
void read_rope(const JsonObject& config, double theta, AttentionConfig& attention) {
  theta = config.number_or("rope_theta", theta, 1.0, kMaxTheta);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(key)) continue;
    const JsonObject rope = config.object(key);
    for (const char* name : {"rope_type", "type"}) only(rope, name, "default");
    only(rope, "partial_rotary_factor", 1.0);
    if (rope.has("factor")) only(rope, "factor", 1.0);
    if (!rope.has("rope_theta")) continue;
    const double found = rope.number("rope_theta", 1.0, kMaxTheta);
    UM_CHECK(!config.has("rope_theta") || found == theta,
             "{}: field \"rope_theta\": {} here, {} in \"{}\"", config.where(), theta, found, key);
    theta = found;
  }
  attention.rope_theta = theta;
  attention.rope_interleave =
      config.boolean_or("rope_interleave", attention.is_mla());  // Ultra MoE: interleaved
}

AttentionConfig read_mla(const JsonObject& config) {
  AttentionConfig a;
  a.heads = config.integer("num_attention_heads", 1, kMaxHeads);
  a.kv_heads = config.integer_or("num_key_value_heads", a.heads, a.heads, a.heads);
  a.kv_lora_rank = integer(config, {"kv_lora_rank", "attention_kv_lora_dim"}, 1, kMaxWidth);
  a.q_lora_rank = integer_or(config, {"q_lora_rank", "attention_q_lora_dim"}, 0, 0, kMaxWidth);
  a.qk_rope_dim = integer(config, {"qk_rope_head_dim", "attention_qk_rope_dim"}, 2, kMaxHeadDim);
  a.qk_nope_dim = integer(config, {"qk_nope_head_dim", "attention_qk_dim"}, 1, kMaxHeadDim);
  a.v_dim = integer(config, {"v_head_dim", "attention_v_dim"}, 1, kMaxHeadDim);
  only(config, "attention_bias", false);
  read_rope(config, 25600000.0, a);
  return a;
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

std::vector<int64_t> read_eos(const JsonObject& config, int64_t vocab) {
  const Json* value = config.find("eos_token_id");
  if (value == nullptr) return {};
  if (!value->is_array()) return {config.integer("eos_token_id", 0, vocab - 1)};
  std::vector<int64_t> ids;
  for (const Json& id : *value) {
    const Json one{{"eos_token_id", id}};
    ids.push_back(JsonObject(one, config.where()).integer("eos_token_id", 0, vocab - 1));
  }
  return ids;
}

DType read_dtype(const JsonObject& config) {
  const std::string key = spelling(config, {"dtype", "torch_dtype"});
  const std::string name = config.string_or(key, "float32");
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == dtype_config_name(dtype)) return dtype;
  }
  config.wrong(key, "float32, bfloat16 or float16");
}

/// What every family has.
ModelConfig read_common(const JsonObject& config, Family family) {
  ModelConfig c;
  c.family = family;
  c.vocab = config.integer("vocab_size", 1, kMaxVocab);
  c.hidden = config.integer("hidden_size", 1, kMaxWidth);
  c.layers = config.integer("num_hidden_layers", 1, kMaxLayers);
  c.max_positions = config.integer("max_position_embeddings", 1, kMaxPositions);
  c.norm_eps = config.number_or("rms_norm_eps", family == Family::llama ? 1e-6 : 1e-5, 0.0, 0.1);
  c.tie_embeddings = config.boolean_or("tie_word_embeddings", false);
  c.initializer_range = config.number_or("initializer_range", 0.02, 0.0, 10.0);
  c.bos = config.integer_or("bos_token_id", -1, -1, c.vocab - 1);
  c.pad = config.integer_or("pad_token_id", -1, -1, c.vocab - 1);
  c.eos = read_eos(config, c.vocab);
  c.dtype = read_dtype(config);
  const std::string rule =
      config.string_or("init_rule", family == Family::ultra_moe ? "tiny" : "normal");
  if (rule != "tiny" && rule != "normal") config.wrong("init_rule", "tiny or normal");
  c.init = rule == "tiny" ? InitRule::tiny : InitRule::normal;
  const double embedding_std = c.init == InitRule::tiny ? 0.5 : c.initializer_range;
  c.embedding_init_std = config.number_or("embedding_init_std", embedding_std, 0.0, 100.0);
  return c;
}

/// openPangu-Ultra-MoE, in the V1.0 spelling or DeepSeek's (interop.md 1.5).
ModelConfig read_ultra_moe(const JsonObject& config) {
  ModelConfig c = read_common(config, Family::ultra_moe);
  // Rank 0 with a head_dim asks for grouped-query attention instead, to compare the two.
  const bool mla = integer(config, {"kv_lora_rank", "attention_kv_lora_dim"}, 0, kMaxWidth) > 0;
  if (!mla) config.integer("head_dim", 2, kMaxHeadDim);
  c.attention = mla ? read_mla(config) : read_gqa(config, c.hidden, 25600000.0, false);
  c.dense_layers = integer(config, {"first_k_dense_replace", "num_dense_layers"}, 0, c.layers);
  if (c.dense_layers > 0) c.dense_width = config.integer("intermediate_size", 1, kMaxWidth);
  c.mtp_layers =
      integer_or(config, {"num_nextn_predict_layers", "num_mtp_layers"}, 0, 0, kMaxMtpLayers);
  c.sandwich_norm = config.boolean_or("sandwich_norm", true);
  c.c_attn = config.number_or("dssn_c_attn", c.c_attn, 0.0, 1000.0);
  c.c_mlp = config.number_or("dssn_c_mlp", c.c_mlp, 0.0, 1000.0);
  MoeConfig& m = c.moe;
  m.experts = integer(config, {"n_routed_experts", "num_routed_experts"}, 1, kMaxExperts);
  m.top_k = config.integer("num_experts_per_tok", 1, m.experts);
  m.expert_width = config.integer("moe_intermediate_size", 1, kMaxWidth);
  m.shared_experts = integer_or(config, {"n_shared_experts", "num_shared_experts"}, 0, 0, 1024);
  m.shared_width = m.shared_experts * m.expert_width;
  m.scaling = config.number_or("routed_scaling_factor", 2.5, 0.0, 1e6);
  m.norm_topk = config.boolean_or("norm_topk_prob", true);
  m.router_bias = config.boolean_or("router_enable_expert_bias", false);
  const std::string score = config.string_or("scoring_func", "sigmoid");
  if (score != "sigmoid" && score != "softmax") config.wrong("scoring_func", "sigmoid or softmax");
  m.score = score == "sigmoid" ? RouterScore::sigmoid : RouterScore::softmax;
  return c;
}

/// Pangu Pro MoE with grouped experts (interop.md 1.3): one expert of each of top_k groups unless
/// our field `num_expert_groups` says otherwise.
ModelConfig read_pro_moe(const JsonObject& config) {
  ModelConfig c = read_common(config, Family::pro_moe);
  c.attention = read_gqa(config, c.hidden, 16000000.0, true);
  MoeConfig& m = c.moe;
  m.experts = config.integer("num_experts", 1, kMaxExperts);
  m.top_k = config.integer("num_experts_per_tok", 1, m.experts);
  m.groups = config.integer_or("num_expert_groups", m.top_k, 1, m.top_k);
  m.expert_width = config.integer("moe_intermediate_size", 1, kMaxWidth);
  m.shared_width = config.integer_or("shared_expert_intermediate_size", 0, 0, kMaxWidth);
  m.shared_experts = m.shared_width > 0 ? 1 : 0;
  m.norm_topk = config.boolean_or("norm_topk_prob", false);
  m.router_scale = config.boolean_or("router_scale", true);
  return c;
}

/// Dense: Pangu Embedded with biases (interop.md 1.1), or Llama without unless it says so.
ModelConfig read_dense(const JsonObject& config, Family family) {
  const bool pangu = family == Family::embedded;
  ModelConfig c = read_common(config, family);
  c.attention = read_gqa(config, c.hidden, pangu ? 16000000.0 : 10000.0, pangu);
  c.dense_layers = c.layers;
  c.dense_width = config.integer("intermediate_size", 1, kMaxWidth);
  return c;
}

Family read_family(const JsonObject& config) {
  const std::vector<std::string> names = config.strings("architectures");
  UM_CHECK(names.size() == 1, "{}: field \"architectures\": expected one name, found {}",
           config.where(), names.size());
  for (size_t i = 0; i < kArchitectures.size(); ++i) {
    if (names[0] == kArchitectures[i]) return static_cast<Family>(i);
  }
  fail("{}: field \"architectures\": expected one of {}, found {}", config.where(),
       fmt::join(kArchitectures, ", "), quote(names[0]));
}

void validate_attention(const AttentionConfig& a, const std::string& where) {
  UM_CHECK(a.heads > 0 && a.kv_heads > 0 && a.heads % a.kv_heads == 0,
           "{}: expected key-value heads that divide the heads, found {} of {}", where, a.kv_heads,
           a.heads);
  UM_CHECK(a.qk_rope_dim > 0 && a.qk_rope_dim % 2 == 0,
           "{}: expected an even number of rotary channels in a head, found {}", where,
           a.qk_rope_dim);
  UM_CHECK(a.v_dim > 0 && a.qk_nope_dim >= 0, "{}: head of {} value and {} position-free channels",
           where, a.v_dim, a.qk_nope_dim);
  UM_CHECK(a.qkv_bias == a.o_bias, "{}: expected biases on all of q, k, v and o, or on none",
           where);
  UM_CHECK(a.is_mla() || (a.qk_nope_dim == 0 && a.q_lora_rank == 0),
           "{}: position-free channels and query latents need a key-value latent", where);
}

void validate_moe(const MoeConfig& m, const std::string& where) {
  UM_CHECK(m.top_k >= 1 && m.top_k <= m.experts, "{}: {} experts per token of {}", where, m.top_k,
           m.experts);
  UM_CHECK(m.groups >= 1 && m.experts % m.groups == 0 && m.top_k % m.groups == 0,
           "{}: expected groups that divide experts and experts per token, found {} groups, {} "
           "experts, {} per token",
           where, m.groups, m.experts, m.top_k);
  UM_CHECK(m.expert_width > 0 && m.shared_width >= 0, "{}: experts of width {}, shared of {}",
           where, m.expert_width, m.shared_width);
  UM_CHECK(m.scaling > 0, "{}: expected a positive scaling factor of the routed experts, found {}",
           where, m.scaling);
}

}  // namespace

std::string_view architecture_name(Family family) {
  return kArchitectures[static_cast<size_t>(family)];
}

double ModelConfig::weight_init_std() const {
  if (init == InitRule::normal) return initializer_range;
  return std::sqrt(1.0 / (2.0 * static_cast<double>(hidden) * static_cast<double>(layers)));
}

double ModelConfig::post_attn_gain() const {
  return c_attn / std::sqrt(static_cast<double>(layers));
}

double ModelConfig::post_mlp_gain() const {
  return c_mlp / std::sqrt(static_cast<double>(layers));
}

void validate(const ModelConfig& config, const std::string& where) {
  const auto range = [&](const char* what, int64_t value, int64_t min, int64_t max) {
    UM_CHECK(value >= min && value <= max, "{}: {}: expected {} to {}, found {}", where, what, min,
             max, value);
  };
  range("vocabulary", config.vocab, 1, kMaxVocab);
  range("hidden size", config.hidden, 1, kMaxWidth);
  range("layers", config.layers, 1, kMaxLayers);
  range("dense layers", config.dense_layers, 0, config.layers);
  range("dense width", config.dense_width, config.dense_layers > 0 ? 1 : 0, kMaxWidth);
  range("MTP layers", config.mtp_layers, 0, kMaxMtpLayers);
  range("positions", config.max_positions, 1, kMaxPositions);
  range("heads", config.attention.heads, 1, kMaxHeads);
  range("head size", config.attention.qk_dim(), 1, 2 * kMaxHeadDim);
  range("value head size", config.attention.v_dim, 1, kMaxHeadDim);
  range("query latent", config.attention.q_lora_rank, 0, kMaxWidth);
  range("key-value latent", config.attention.kv_lora_rank, 0, kMaxWidth);
  range("experts", config.moe.experts, 0, kMaxExperts);
  range("expert width", config.moe.expert_width, 0, kMaxWidth);
  range("shared expert width", config.moe.shared_width, 0, 1024 * kMaxWidth);
  validate_attention(config.attention, where);
  UM_CHECK(
      config.moe.experts > 0 || (config.dense_layers == config.layers && config.mtp_layers == 0),
      "{}: {} of {} layers are dense, and there are no experts for the others", where,
      config.dense_layers, config.layers);
  if (config.moe.experts > 0) validate_moe(config.moe, where);
  try {
    count_parameters(config);
  } catch (const Error& error) {
    fail("{}: absurd size: {}", where, error.what());
  }
}

ModelConfig load_config(const Json& json, const std::string& where) {
  const JsonObject config(json, where);
  const Family family = read_family(config);
  refuse_unsupported(config);
  ModelConfig resolved = family == Family::ultra_moe ? read_ultra_moe(config)
                         : family == Family::pro_moe ? read_pro_moe(config)
                                                     : read_dense(config, family);
  validate(resolved, where);
  return resolved;
}

/// A file of a checkpoint: quantised weights are converted when they are read (quantized.h).
static ModelConfig load_file(Json json, const std::string& where) {
  if (json.is_object()) json.erase("quantization_config");
  return load_config(json, where);
}

ModelConfig read_named_config(const std::string& name_or_directory) {
  const ConfigText config = find_config(name_or_directory);
  return load_file(parse_json(config.text, config.where), config.where);
}

ModelConfig read_config(const std::filesystem::path& path) {
  if (is_gguf(path)) {
    const GgufModel model(path);
    return load_config(gguf_config(model), path.string());
  }
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path, ignored);
  const std::filesystem::path file = directory ? path / "config.json" : path;
  return load_file(read_json_file(file, uint64_t{16} << 20), file.string());
}

}  // namespace um
