// Reading a config.json: which architecture it is, what no architecture of ours runs, and whether
// the result makes sense. The fields are read by the architecture files; writing is in
// config_write.cc, presets in presets.cc; see config.h.
#include "models/config.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "kernels/args/streams.h"
#include "models/architecture.h"
#include "models/config_fields.h"
#include "models/count.h"
#include "models/gguf_model.h"
#include "nn/kv_pool.h"

namespace um {
namespace {

using namespace fields;

constexpr int64_t kMaxSinks = int64_t{1} << 16;

/// Fields of other models whose layers look like ours. Absent or as here is fine.
void refuse_unsupported(const JsonObject& config) {
  UM_CHECK(!config.has("quantization_config"),
           "{}: field \"quantization_config\": quantised checkpoints are not supported here",
           config.where());
  only(config, "hidden_act", "silu");
  only(config, "mlp_bias", false);
  only(config, "partial_rotary_factor", 1.0);
}

/// The families that have no windows.
void refuse_windows(const JsonObject& config) {
  only(config, "use_sliding_window", false);
  if (!config.has("use_sliding_window")) only(config, "sliding_window", nullptr);
  const Json* types = config.find("layer_types");
  if (types == nullptr) return;
  for (const Json& type : *types)
    if (type != "full_attention") config.wrong("layer_types", "full_attention for every layer");
}

/// By the name in `architectures`; where there is none, by `model_type`.
const Architecture& find_architecture(const JsonObject& config) {
  const std::span<const Architecture* const> known = architectures();
  if (!config.has("architectures") && config.has("model_type")) {
    const std::string type = config.string("model_type");
    // Two architectures are called PanguProMoE: the second has these fields (docs/models.md).
    if (type == kPanguProMoeV2.model_type &&
        (config.has("n_routed_experts") || config.has("param_sink_number")))
      return kPanguProMoeV2;
    for (const Architecture* one : known)
      if (type == one->model_type) return *one;
    fail("{}: no field \"architectures\", and field \"model_type\" is unknown: {}", config.where(),
         quote(type));
  }
  const std::vector<std::string> names = config.strings("architectures");
  UM_CHECK(names.size() == 1, "{}: field \"architectures\": expected one name, found {}",
           config.where(), names.size());
  std::vector<std::string_view> expected;
  for (const Architecture* one : known) {
    if (names[0] == one->name) return *one;
    expected.push_back(one->name);
  }
  fail("{}: field \"architectures\": expected one of {}, found {}", config.where(),
       fmt::join(expected, ", "), quote(names[0]));
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
  UM_CHECK(a.qkv_bias || !a.o_bias, "{}: expected biases on q, k and v where there is one on o",
           where);
  const RopeScaling& s = a.rope_scaling;
  UM_CHECK(s.factor >= 1 && (s.kind == RopeKind::plain || s.kind == RopeKind::linear ||
                             s.original_positions > 0),
           "{}: rope scaling by {} from {} positions", where, s.factor, s.original_positions);
  UM_CHECK(s.low_freq < s.high_freq && s.beta_slow <= s.beta_fast,
           "{}: rope scaling: expected low_freq_factor {} below high_freq_factor {}, and beta_slow "
           "{} not above beta_fast {}",
           where, s.low_freq, s.high_freq, s.beta_slow, s.beta_fast);
  UM_CHECK(s.kind != RopeKind::yarn || a.rope_theta > 1, "{}: yarn needs a rope_theta above 1",
           where);
  UM_CHECK(a.is_mla() || a.q_lora_rank == 0, "{}: query latents need a key-value latent", where);
  UM_CHECK(a.sinks >= 0 && a.sinks % kPageRows == 0 && a.sinks <= kMaxSinks,
           "{}: expected attention sinks in multiples of {} up to {}, found {}", where, kPageRows,
           kMaxSinks, a.sinks);
  UM_CHECK(a.sinks == 0 || a.k_norm || a.is_mla(),
           "{}: attention sinks need latents or a norm on keys", where);
  UM_CHECK(!a.fused_qkv || !a.qkv_bias, "{}: fused q, k and v have no biases here", where);
}

/// What openPangu-2.0 has.
void validate_extras(const ModelConfig& config, const std::string& where) {
  const AttentionConfig& a = config.attention;
  const int64_t layers = config.layers + config.mtp_layers;
  const auto within = [&](const char* what, const std::vector<int64_t>& list, int64_t end) {
    for (size_t i = 0; i < list.size(); ++i)
      UM_CHECK(list[i] >= 0 && list[i] < end && (i == 0 || list[i - 1] < list[i]),
               "{}: {}: expected ascending numbers of layers below {}, found {}", where, what, end,
               list[i]);
  };
  within("layers with an indexer", a.index_layers, config.layers);
  within("layers with a block norm", config.block_norms, config.layers);
  UM_CHECK(a.windows.empty() || std::ssize(a.windows) >= layers,
           "{}: {} windows for {} layers with the MTP heads", where, a.windows.size(), layers);
  for (size_t i = 0; i < a.windows.size(); ++i)
    UM_CHECK(a.windows[i] >= 0 && (a.windows[i] == 0 || !a.is_indexed(static_cast<int64_t>(i))),
             "{}: layer {} has a window of {}{}", where, i, a.windows[i],
             a.windows[i] > 0 ? " and an indexer" : "");
  UM_CHECK(a.conv_taps == 0 || (a.conv_taps > 1 && a.conv_taps <= kConvRing),
           "{}: convolutions of {} rows: expected 2 to {}", where, a.conv_taps, kConvRing);
  UM_CHECK(a.index_layers.empty() ||
               (a.index_heads > 0 && a.index_top_k > 0 && a.index_dim >= a.qk_rope_dim),
           "{}: an indexer of {} heads of {} channels for {} keys, {} of the channels rotary",
           where, a.index_heads, a.index_dim, a.index_top_k, a.qk_rope_dim);
  const bool plain = a.windows.empty() && a.index_layers.empty() && a.conv_taps == 0;
  UM_CHECK(plain || (a.is_mla() && a.q_lora_rank > 0),
           "{}: windows, indexers and convolutions need latents", where);
  UM_CHECK(config.streams >= 1 && config.streams <= kMaxStreams &&
               config.sinkhorn_steps >= (config.streams > 1 ? 1 : 0) &&
               config.sinkhorn_steps <= kMaxSinkhornSteps,
           "{}: {} residual streams with {} Sinkhorn steps: expected up to {} with up to {}", where,
           config.streams, config.sinkhorn_steps, kMaxStreams, kMaxSinkhornSteps);
}

void validate_moe(const MoeConfig& m, const std::string& where) {
  UM_CHECK(m.top_k >= 1 && m.top_k <= m.experts, "{}: {} experts per token of {}", where, m.top_k,
           m.experts);
  const bool limited = m.limit_groups > 0;
  UM_CHECK(m.groups >= 1 && m.experts % m.groups == 0 && (limited || m.top_k % m.groups == 0),
           "{}: expected groups that divide experts{}, found {} groups, {} experts, {} per token",
           where, limited ? "" : " and experts per token", m.groups, m.experts, m.top_k);
  UM_CHECK(m.limit_groups >= 0 && m.limit_groups <= m.groups &&
               (!limited || m.top_k <= m.limit_groups * (m.experts / m.groups)),
           "{}: {} experts per token from {} of {} groups of {}", where, m.top_k, m.limit_groups,
           m.groups, m.experts / m.groups);
  UM_CHECK(m.expert_width > 0 && m.shared_width >= 0, "{}: experts of width {}, shared of {}",
           where, m.expert_width, m.shared_width);
  UM_CHECK(m.scaling > 0, "{}: expected a positive scaling factor of the routed experts, found {}",
           where, m.scaling);
}

}  // namespace

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
  validate_extras(config, where);
  try {
    count_parameters(config);
  } catch (const Error& error) {
    fail("{}: absurd size: {}", where, error.what());
  }
  // A line of text must not make us write down more tensors than any model has.
  range("experts of all layers together",
        (config.layers - config.dense_layers + config.mtp_layers) * config.moe.experts, 0,
        kMaxExpertsOfAll);
}

ModelConfig load_config(const Json& json, const std::string& where) {
  const JsonObject config(json, where);
  const Architecture& found = find_architecture(config);
  refuse_unsupported(config);
  if (found.family != Family::openpangu_v2) refuse_windows(config);
  ModelConfig resolved = found.read(config);
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
