// See gguf_metadata.h. Facts: docs/formats.md.
#include "models/gguf_metadata.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "models/config.h"

namespace um {
namespace {

/// Fields of a canonical config as values of `ARCHITECTURE.key`.
class Fields {
 public:
  Fields(const Json& config, std::string architecture, std::vector<GgufEntry>& out)
      : config_(config), prefix_(std::move(architecture) + "."), out_(out) {}

  void set(const std::string& key, GgufValue value) {
    out_.push_back({prefix_ + key, std::move(value)});
  }
  void integer(const std::string& key, const char* field) {
    if (has(field)) set(key, static_cast<uint32_t>(config_.at(field).get<int64_t>()));
  }
  void number(const std::string& key, const char* field) {
    if (has(field)) set(key, static_cast<float>(config_.at(field).get<double>()));
  }
  void boolean(const std::string& key, const char* field) {
    if (has(field)) set(key, config_.at(field).get<bool>());
  }
  bool has(const char* field) const {
    const auto at = config_.find(field);
    return at != config_.end() && !at->is_null();
  }
  int64_t get(const char* field) const { return config_.at(field).get<int64_t>(); }
  const Json& config() const { return config_; }

 private:
  const Json& config_;
  std::string prefix_;
  std::vector<GgufEntry>& out_;
};

/// The scaling object in either spelling, or null.
const Json* rope_scaling(const Json& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto at = config.find(key);
    if (at == config.end() || !at->is_object()) continue;
    const std::string type = at->value("rope_type", at->value("type", "default"));
    if (type != "default") return &*at;
  }
  return nullptr;
}

std::string scaling_type(const Json& scaling) {
  return scaling.value("rope_type", scaling.value("type", "default"));
}

void add_rope_scaling(Fields& fields) {
  const Json* scaling = rope_scaling(fields.config());
  if (scaling == nullptr || scaling_type(*scaling) == "llama3") return;
  const std::string type = scaling_type(*scaling);
  const double mscale = scaling->value("mscale", 0.0);
  UM_CHECK((mscale == 0 || mscale == scaling->value("mscale_all_dim", 0.0)) &&
               scaling->value("attention_factor", 0.0) == 0 && scaling->value("truncate", true),
           "rope scaling with an attention_factor, without truncation, or with mscale other than "
           "mscale_all_dim has no place in GGUF");
  UM_CHECK(type == "linear" || type == "yarn",
           "rope scaling {} has no place in GGUF; expected linear, yarn or llama3", quote(type));
  fields.set("rope.scaling.type", type);
  fields.set("rope.scaling.factor", static_cast<float>(scaling->at("factor").get<double>()));
  if (scaling->contains("original_max_position_embeddings"))
    fields.set("rope.scaling.original_context_length",
               scaling->at("original_max_position_embeddings").get<uint32_t>());
  if (type != "yarn") return;
  for (const auto& [key, field] : {std::pair("rope.scaling.yarn_beta_fast", "beta_fast"),
                                   std::pair("rope.scaling.yarn_beta_slow", "beta_slow")})
    if (scaling->contains(field)) fields.set(key, scaling->at(field).get<float>());
  if (scaling->contains("mscale_all_dim"))
    fields.set("rope.scaling.yarn_log_multiplier",
               0.1F * scaling->at("mscale_all_dim").get<float>());
}

void add_gqa(Fields& fields) {
  const bool r72b = fields.has("v_channels");  // values and rotation of widths of their own
  fields.integer("attention.head_count_kv", "num_key_value_heads");
  fields.integer("attention.key_length", "head_dim");
  fields.integer("attention.value_length", r72b ? "v_channels" : "head_dim");
  fields.integer("rope.dimension_count", r72b ? "qk_rope_dim" : "head_dim");
}

/// Multi-query attention over latents, as llama.cpp runs MLA.
void add_mla(Fields& fields) {
  const int64_t rope = fields.get("qk_rope_head_dim"), nope = fields.get("qk_nope_head_dim"),
                rank = fields.get("kv_lora_rank");
  const auto set = [&](const char* key, int64_t value) {
    fields.set(key, static_cast<uint32_t>(value));
  };
  set("attention.head_count_kv", 1);
  set("attention.key_length", rank + rope);
  set("attention.value_length", rank);
  set("attention.key_length_mla", nope + rope);
  set("attention.value_length_mla", fields.get("v_head_dim"));
  set("attention.kv_lora_rank", rank);
  set("rope.dimension_count", rope);
  if (fields.has("q_lora_rank") && fields.get("q_lora_rank") > 0)
    fields.integer("attention.q_lora_rank", "q_lora_rank");
}

void add_moe(Fields& fields) {
  for (const char* field : {"n_routed_experts", "num_experts"})
    fields.integer("expert_count", field);
  fields.integer("expert_used_count", "num_experts_per_tok");
  fields.integer("expert_feed_forward_length", "moe_intermediate_size");
  fields.integer("expert_shared_count", "n_shared_experts");
  fields.integer("expert_shared_feed_forward_length", "shared_expert_intermediate_size");
  fields.integer("leading_dense_block_count", "first_k_dense_replace");
  fields.number("expert_weights_scale", "routed_scaling_factor");
  fields.boolean("expert_weights_norm", "norm_topk_prob");
  const Json& name = fields.config().at("architectures").at(0);
  const bool sigmoid = fields.config().value("scoring_func", "") == "sigmoid";
  if (name == "DeepseekV3ForCausalLM" || sigmoid)
    fields.set("expert_gating_func", uint32_t{2});
  else if (name == "DeepseekV2ForCausalLM" || fields.has("scoring_func"))
    fields.set("expert_gating_func", uint32_t{1});
  if (fields.has("n_group") && fields.has("topk_group")) {
    fields.integer("expert_group_count", "n_group");
    fields.integer("expert_group_used_count", "topk_group");
  }
}

bool is_own(const std::string& architecture) {
  return architecture == "pangu-ultra-moe" || architecture == "pangu-v2" ||
         architecture.starts_with("pangu-pro-moe");
}

}  // namespace

Json canonical_config(const Json& config, const WeightSource& source) {
  Json merged = config;
  ModelConfig resolved = load_config(config, source.where());
  if (source.find("lm_head.weight") == nullptr) resolved.tie_embeddings = true;
  merged.update(config_to_json(resolved));
  return merged;
}

int64_t mtp_layers(const Json& config) {
  return config.value("num_nextn_predict_layers", config.value("num_mtp_layers", int64_t{0}));
}

std::string gguf_architecture(const Json& config, const std::string& where) {
  const std::string name = config.at("architectures").at(0);
  const std::pair<const char*, const char*> known[] = {
      {"LlamaForCausalLM", "llama"},
      {"Qwen2ForCausalLM", "qwen2"},
      {"Qwen3ForCausalLM", "qwen3"},
      {"Qwen3MoeForCausalLM", "qwen3moe"},
      {"PanguEmbeddedForCausalLM", "pangu-embedded"},
      {"DeepseekV2ForCausalLM", "deepseek2"},
      {"DeepseekV3ForCausalLM", "deepseek2"},
      {"PanguUltraMoEForCausalLM", "pangu-ultra-moe"},
      {"PanguProMoEForCausalLM", "pangu-pro-moe"},
      {"PanguProMoEV2ForCausalLM", "pangu-pro-moe-v2"},
      {"OpenPanguV2ForCausalLM", "pangu-v2"}};
  for (const auto& [published, gguf] : known)
    if (name == published) return gguf;
  fail("{}: {} has no GGUF architecture, neither in llama.cpp nor of ours", where, name);
}

std::vector<GgufEntry> gguf_metadata(const Json& config, const Json& raw,
                                     const std::string& architecture, const std::string& name) {
  std::vector<GgufEntry> out = {{"general.architecture", architecture},
                                {"general.type", std::string("model")},
                                {"general.name", name}};
  Fields fields(config, architecture, out);
  const bool mla = fields.has("kv_lora_rank") && fields.get("kv_lora_rank") > 0;
  // llama.cpp does not run DeepSeek's MTP layers; files of ours keep them.
  const int64_t mtp = is_own(architecture) ? mtp_layers(config) : 0;
  fields.integer("vocab_size", "vocab_size");
  fields.integer("context_length", "max_position_embeddings");
  fields.integer("embedding_length", "hidden_size");
  fields.set("block_count", static_cast<uint32_t>(fields.get("num_hidden_layers") + mtp));
  if (mtp > 0) fields.set("nextn_predict_layers", static_cast<uint32_t>(mtp));
  fields.integer("feed_forward_length", "intermediate_size");
  fields.integer("attention.head_count", "num_attention_heads");
  fields.number("attention.layer_norm_rms_epsilon", "rms_norm_eps");
  if (mla)
    add_mla(fields);
  else
    add_gqa(fields);
  fields.number("rope.freq_base", "rope_theta");
  if (!is_own(architecture)) add_rope_scaling(fields);  // files of ours carry the config
  if (fields.has("num_experts_per_tok")) add_moe(fields);
  if (architecture == "qwen3moe")
    UM_CHECK(config.value("norm_topk_prob", false) &&
                 config.value("mlp_only_layers", Json::array()).empty() &&
                 config.value("decoder_sparse_step", 1) == 1,
             "a Qwen3-MoE with dense layers, or with norm_topk_prob false, has no place in GGUF");
  if (is_own(architecture)) out.push_back({"ultramoe.config_json", to_text(raw)});
  if (const Json trained_for = raw.value("trained_for", Json()); trained_for.is_string())
    out.push_back({"ultramoe.trained_for", trained_for.get<std::string>()});
  return out;
}

std::optional<std::vector<float>> rope_factors(const Json& config) {
  const Json* scaling = rope_scaling(config);
  if (scaling == nullptr || scaling_type(*scaling) != "llama3") return {};
  const auto number = [&](const char* key) { return scaling->at(key).get<double>(); };
  const double factor = number("factor"), low = number("low_freq_factor"),
               high = number("high_freq_factor"),
               original = number("original_max_position_embeddings");
  const double theta = scaling->value("rope_theta", config.value("rope_theta", 10000.0));
  const auto channels = config.at("head_dim").get<int64_t>();
  std::vector<float> factors;
  for (int64_t i = 0; i < channels; i += 2) {
    const double wavelength =
        2 * M_PI * std::pow(theta, static_cast<double>(i) / static_cast<double>(channels));
    const double smooth = std::clamp((original / wavelength - low) / (high - low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
  }
  return factors;
}

}  // namespace um
