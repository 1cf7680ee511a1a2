// openPangu-2.0 (OpenPanguV2ForCausalLM; docs/openpangu2.md): Pangu Ultra MoE's layers with several
// residual streams (hyper-connections), convolutions on attention's latents and outputs, sinks in
// the latent space, and in each layer a sliding window or an indexer that chooses the keys
// (DeepSeek's sparse attention). MTP heads have one stream, a window, and no indexer.
#include <algorithm>

#include "core/error.h"
#include "models/architecture.h"
#include "models/config_fields.h"

namespace um {
namespace {

constexpr int64_t kMaxWindow = fields::kMaxPositions;

std::vector<int64_t> layer_list(const JsonObject& config, const char* key, int64_t layers) {
  std::vector<int64_t> list = config.integers(key, 0, layers - 1);
  std::ranges::sort(list);
  return list;
}

/// Windows as transformers writes them: the kind of each layer, and one window.
void read_layer_types(const JsonObject& config, int64_t layers, AttentionConfig& a) {
  const std::vector<std::string> kinds = config.strings("layer_types");
  a.windows.assign(static_cast<size_t>(layers), 0);
  for (size_t i = 0; i < std::min(kinds.size(), a.windows.size()); ++i) {
    if (kinds[i] == "sliding_attention")
      a.windows[i] = config.integer("sliding_window", 1, kMaxWindow);
    else if (kinds[i] != "full_attention")
      config.wrong("layer_types", "full_attention and sliding_attention");
  }
}

/// Windows by layer, the MTP heads' behind the trunk's. Lists may go on beyond `layers`: many
/// checkpoints leave the MTP heads out.
void read_windows(const JsonObject& config, int64_t layers, AttentionConfig& a) {
  if (config.has("layer_types") && !config.has("swa_layers"))
    return read_layer_types(config, layers, a);
  if (!config.has("swa_layers")) {
    for (const char* key : {"sliding_window", "sliding_window_list"})
      UM_CHECK(!config.has(key), "{}: field \"{}\" without \"swa_layers\"", config.where(), key);
    return;
  }
  a.windows.assign(static_cast<size_t>(layers), 0);
  const std::vector<int64_t> which =
      config.integers("swa_layers", 0, fields::kMaxLayers + fields::kMaxMtpLayers);
  std::vector<int64_t> windows = config.integers("sliding_window_list", 1, kMaxWindow);
  if (!config.has("sliding_window_list"))
    windows.assign(which.size(), config.integer("sliding_window", 1, kMaxWindow));
  if (windows.size() != which.size())
    config.wrong("sliding_window_list", "as many windows as \"swa_layers\" has layers");
  for (size_t i = 0; i < which.size(); ++i)
    if (which[i] < layers) a.windows[static_cast<size_t>(which[i])] = windows[i];
}

/// The trunk's layers that have no window, unless the config lists them.
void read_indexer(const JsonObject& config, int64_t trunk, AttentionConfig& a) {
  a.index_top_k = config.integer_or("index_topk", 0, 0, fields::kMaxPositions);
  if (a.index_top_k == 0) {
    if (!config.integers("dsa_layers", 0, trunk - 1).empty())
      config.wrong("index_topk", "how many keys the layers of \"dsa_layers\" choose");
    return;
  }
  a.index_heads = config.integer("index_n_heads", 1, fields::kMaxHeads);
  a.index_dim = config.integer("index_head_dim", 1, fields::kMaxHeadDim);
  a.index_layers = layer_list(config, "dsa_layers", trunk);
  if (config.has("dsa_layers")) return;
  for (int64_t i = 0; i < trunk; ++i)
    if (a.window(i) == 0) a.index_layers.push_back(i);
}

AttentionConfig read_attention(const JsonObject& config, int64_t trunk, int64_t layers) {
  Json latents = config.json();
  latents.erase("num_key_value_heads");  // some configs say 1: one latent for all heads
  AttentionConfig a = fields::read_mla(JsonObject(latents, config.where()), 6400000.0);
  a.rope_interleave =
      config.boolean_or(fields::spelling(config, {"rope_interleave", "rope_interleaved"}), false);
  a.sinks = config.integer_or("param_sink_number", 0, 0, fields::kMaxWidth);
  if (a.sinks > 0) fields::only(config, "param_sink_with_value", true);
  const int64_t taps = config.integer_or("router_sliding_window", 0, 0, 1024);
  if (config.boolean_or("use_mome", taps > 0))
    a.conv_taps = config.integer("router_sliding_window", 2, 1024);
  read_windows(config, layers, a);
  read_indexer(config, trunk, a);
  return a;
}

ModelConfig read(const JsonObject& config) {
  ModelConfig c = fields::common(config, Family::openpangu_v2, {.norm_eps = 1e-5});
  fields::read_pangu_layers(config, false, 2.5, c);
  c.attention = read_attention(config, c.layers, c.layers + c.mtp_layers);
  fields::only(config, "scoring_func", "sigmoid");
  if (config.boolean_or("use_mhc", false)) {
    c.streams = config.integer_or("mhc_num_stream", 4, 2, 1024);
    c.sinkhorn_steps = config.integer_or("mhc_recur_norm", 20, 1, 1024);
    c.stream_gain = config.boolean_or("mhc_use_gamma", true);
  }
  c.block_norms = layer_list(config, "block_post_layernorm_idx", c.layers);
  return c;
}

void write_windows(const AttentionConfig& a, Json& out) {
  if (a.windows.empty()) return;
  Json layers = Json::array(), windows = Json::array();
  for (size_t i = 0; i < a.windows.size(); ++i) {
    if (a.windows[i] == 0) continue;
    layers.push_back(i);
    windows.push_back(a.windows[i]);
  }
  out["swa_layers"] = layers;
  out["sliding_window_list"] = windows;
}

void write(const ModelConfig& c, Json& out) {
  const AttentionConfig& a = c.attention;
  fields::write_mla(a, out);
  fields::write_pangu_layers(c, out);
  write_windows(a, out);
  out["dsa_layers"] = a.index_layers;
  out["index_topk"] = a.index_top_k;
  out["index_n_heads"] = a.index_heads;
  out["index_head_dim"] = a.index_dim;
  out["param_sink_number"] = a.sinks;
  out["param_sink_with_value"] = a.sinks > 0;
  out["use_mome"] = a.conv_taps > 0;
  out["router_sliding_window"] = a.conv_taps;
  out["use_mhc"] = c.streams > 1;
  out["mhc_num_stream"] = c.streams;
  out["mhc_recur_norm"] = c.sinkhorn_steps;
  out["mhc_use_gamma"] = c.stream_gain;
  out["block_post_layernorm_idx"] = c.block_norms;
}

void build(Model& model) {
  model.add_layers();
}

}  // namespace

const Architecture kOpenpanguV2{
    Family::openpangu_v2, "OpenPanguV2ForCausalLM", "openpangu_v2", read, write, build};

}  // namespace um
