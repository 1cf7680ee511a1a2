// `ultramoe inspect`: what a model is made of and what it costs, from its config and the headers of
// its weights. Nothing is allocated.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/json.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "models/mapped.h"
#include "models/model_weights.h"
#include "ops/devices.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

/// The tensors of a checkpoint beside those of the model.
struct Weights {
  bool found = false;
  uint64_t bytes = 0;
  size_t tensors = 0;
  std::vector<std::string> missing, wrong, unexpected;  // wrong: of another shape, no numbers
  std::vector<std::string> warnings;
};

struct Part {
  const char* name;
  int64_t total, active;
};

std::vector<Part> parts_of(const ParameterCount& count) {
  std::vector<Part> parts = {
      {"embedding", count.embedding, count.embedding},
      {"attention", count.attention, count.attention},
      {"dense MLP", count.dense_mlp, count.dense_mlp},
      {"routed experts", count.experts, count.experts - count.idle_experts},
      {"shared experts", count.shared, count.shared},
      {"router", count.router, count.router},
      {"norms", count.norms, count.norms},
      {"streams", count.streams, count.streams},
      {"output head", count.head, count.head},
  };
  std::erase_if(parts, [](const Part& part) { return part.total == 0; });
  return parts;
}

/// Also makes the config follow what the weights are.
Weights check_weights(ModelConfig& config, const fs::path& directory) {
  Weights weights;
  if (is_mapped(directory)) {
    const SafetensorsFile file(directory / kMappedFile);
    map_model(directory, cpu_device(), std::nullopt, &weights.warnings);  // throws if they differ
    weights.found = true;
    weights.bytes = file.file().bytes().size();
    weights.tensors = file.tensors().size();
    return weights;
  }
  if (!has_weights(directory)) return weights;
  weights.found = true;
  {
    const WeightSource stored = open_weights(directory);
    weights.bytes = stored.total_bytes();
    weights.tensors = stored.tensors().size();
  }
  const WeightSource source = open_model_weights(directory, config, &weights.warnings);
  weights.warnings.insert(weights.warnings.end(), source.warnings().begin(),
                          source.warnings().end());
  const std::unique_ptr<Model> model = make_model(config, dry_device());
  std::set<std::string> wanted;
  for (const TensorSpec& spec : checkpoint_specs(model->params(), config.dtype)) {
    wanted.insert(spec.name);
    const StoredWeight* weight = source.find(spec.name);
    if (weight == nullptr) {
      weights.missing.push_back(spec.name);
    } else if (weight->shape != spec.shape || !weight->read) {
      weights.wrong.push_back(fmt::format("{}: expected [{}], found [{}] in {}", spec.name,
                                          fmt::join(spec.shape, ", "),
                                          fmt::join(weight->shape, ", "), weight->format));
    }
  }
  for (const auto& [name, weight] : source.tensors())
    if (!wanted.contains(name) && !is_redundant(name, config)) weights.unexpected.push_back(name);
  return weights;
}

std::string attention_text(const AttentionConfig& a) {
  if (!a.is_mla())
    return fmt::format("GQA, {} query and {} key-value heads of {}{}", a.heads, a.kv_heads,
                       a.qk_dim(), a.qkv_bias ? ", biases" : "");
  return fmt::format("MLA, {} heads of {}+{} (value {}), latents q {}, kv {}", a.heads,
                     a.qk_nope_dim, a.qk_rope_dim, a.v_dim, a.q_lora_rank, a.kv_lora_rank);
}

/// Which keys openPangu-2.0's layers see; nothing in most models.
std::string keys_text(const AttentionConfig& a) {
  std::vector<std::string> parts;
  std::map<int64_t, int64_t> layers;  // by window
  for (const int64_t window : a.windows)
    if (window > 0) ++layers[window];
  for (const auto& [window, count] : layers)
    parts.push_back(fmt::format("{} layers see {}", count, digits(window)));
  if (!a.index_layers.empty())
    parts.push_back(fmt::format("{} choose {} ({} index heads of {})", a.index_layers.size(),
                                digits(a.index_top_k), a.index_heads, a.index_dim));
  if (a.sinks > 0) parts.push_back(fmt::format("{} sinks", a.sinks));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string moe_text(const ModelConfig& c) {
  const MoeConfig& m = c.moe;
  std::string text = fmt::format("{} routed experts of {}, {} per token", digits(m.experts),
                                 digits(m.expert_width), m.top_k);
  if (m.groups > 1)
    text += fmt::format(" ({} from each of {} groups)", m.top_k / m.groups, m.groups);
  if (m.shared_width > 0) text += fmt::format(", shared width {}", digits(m.shared_width));
  return text + (m.score == RouterScore::sigmoid ? ", sigmoid router" : ", softmax router");
}

void print_row(std::string_view label, const std::string& text) {
  fmt::print("  {:<16}{}\n", label, text);
}

void print_shape(const ModelConfig& c) {
  std::string layers = fmt::format("{}", c.layers);
  if (c.moe.experts > 0)
    layers += fmt::format(" ({} dense, {} MoE)", c.dense_layers, c.layers - c.dense_layers);
  if (c.mtp_layers > 0) layers += fmt::format(" + {} MTP", c.mtp_layers);
  print_row("layers", layers + (c.sandwich_norm ? ", sandwich norm" : ", pre-norm"));
  print_row("hidden", digits(c.hidden));
  print_row("attention", attention_text(c.attention));
  if (const std::string keys = keys_text(c.attention); !keys.empty()) print_row("keys", keys);
  if (c.attention.conv_taps > 0)
    print_row("convolutions",
              fmt::format("of {} rows, on latents and outputs", c.attention.conv_taps));
  if (c.streams > 1) print_row("residual", fmt::format("{} streams", c.streams));
  if (c.moe.experts > 0) print_row("MoE", moe_text(c));
  if (c.dense_layers > 0) print_row("dense MLP", digits(c.dense_width));
  print_row("vocabulary", digits(c.vocab) + (c.tie_embeddings ? ", tied head" : ""));
  print_row("context", digits(c.max_positions) + " tokens");
}

void print_count(std::string_view label, int64_t total, int64_t active) {
  fmt::print("  {:<26}{:>20}{:>20}\n", label, digits(total), digits(active));
}

void print_counts(const ModelConfig& config, const ParameterCount& count) {
  fmt::print("\n  {}\n", bold(fmt::format("{:<26}{:>20}{:>20}", "parameters", "total", "active")));
  for (const Part& part : parts_of(count)) print_count(part.name, part.total, part.active);
  print_count("sum", count.total(), count.active());
  if (count.head > 0)
    print_count("with one embedding side", count.total_one_side(), count.active_one_side());
  if (config.mtp_layers > 0)
    print_count("with MTP layers", count.total_with_mtp(),
                count.active() + count.mtp - count.mtp_idle_experts);
}

/// The length at which FLOPs are given.
int64_t flops_length(const ModelConfig& config) {
  return std::min<int64_t>(4096, config.max_positions);
}

void print_costs(const ModelConfig& config, const ParameterCount& count) {
  const auto params = static_cast<double>(count.total_with_mtp());
  const auto kv = static_cast<double>(kv_bytes_per_token(config, config.dtype));
  const auto stored = static_cast<double>(dtype_size(config.dtype));
  const int64_t length = flops_length(config);
  fmt::print("\n");
  print_row("weights",
            fmt::format("{} in {}{}", bytes_text(params * stored), dtype_name(config.dtype),
                        config.mtp_layers > 0 ? ", MTP layers included" : ""));
  const auto in_memory = [&](DType weights) {
    return bytes_text(static_cast<double>(weight_bytes(config, weights)));
  };
  print_row("in memory", fmt::format("{} with f32 weights, {} with bf16", in_memory(DType::f32),
                                     in_memory(DType::bf16)));
  print_row("KV cache",
            fmt::format("{} bytes per token in {}, {} for the whole context",
                        digits(kv_bytes_per_token(config, config.dtype)), dtype_name(config.dtype),
                        bytes_text(kv * static_cast<double>(config.max_positions))));
  print_row("FLOPs", fmt::format("{} per token forward, {} in training, in texts of {} tokens",
                                 short_count(forward_flops(config, length).trunk()),
                                 short_count(training_flops(config, length)), digits(length)));
}

void print_weights(const Weights& weights) {
  if (!weights.found) return print_row("on disk", "config only, no weights");
  print_row("on disk",
            fmt::format("{} tensors, {} bytes", digits(static_cast<int64_t>(weights.tensors)),
                        digits(static_cast<int64_t>(weights.bytes))));
  static constexpr size_t kShown = 10;
  const auto list = [](const char* what, const std::vector<std::string>& names) {
    for (size_t i = 0; i < std::min(kShown, names.size()); ++i)
      fmt::print("    {}: {}\n", what, names[i]);
    if (names.size() > kShown) fmt::print("    and {} more\n", names.size() - kShown);
  };
  print_row("", fmt::format("{} missing, {} wrong, {} unexpected", weights.missing.size(),
                            weights.wrong.size(), weights.unexpected.size()));
  list("missing", weights.missing);
  list("wrong", weights.wrong);
  list("unexpected", weights.unexpected);
  list("warning", weights.warnings);
}

OrderedJson to_json(const std::string& name, const ModelConfig& config, const Weights& weights) {
  const ParameterCount count = count_parameters(config);
  OrderedJson parts = OrderedJson::object();
  for (const Part& part : parts_of(count))
    parts[part.name] = {{"total", part.total}, {"active", part.active}};
  OrderedJson json = {
      {"name", name},
      {"architecture", architecture_name(config.family)},
      {"total_params", count.total()},
      {"active_params", count.active()},
      {"total_params_one_embedding", count.total_one_side()},
      {"active_params_one_embedding", count.active_one_side()},
      {"mtp_params", count.mtp},
      {"total_params_with_mtp", count.total_with_mtp()},
      {"parts", parts},
      {"dtype", dtype_name(config.dtype)},
      {"weight_bytes", count.total_with_mtp() * static_cast<int64_t>(dtype_size(config.dtype))},
      {"memory_bytes",
       {{"f32", weight_bytes(config, DType::f32)}, {"bf16", weight_bytes(config, DType::bf16)}}},
      {"kv_bytes_per_token", kv_bytes_per_token(config, config.dtype)},
      {"flops_sequence", flops_length(config)},
      {"forward_flops_per_token", forward_flops(config, flops_length(config)).trunk()},
      {"training_flops_per_token", training_flops(config, flops_length(config))},
  };
  if (weights.found)
    json["weights"] = {{"bytes", weights.bytes},           {"tensors", weights.tensors},
                       {"missing", weights.missing},       {"wrong", weights.wrong},
                       {"unexpected", weights.unexpected}, {"warnings", weights.warnings}};
  return json;
}

struct Options {
  std::string model;
  bool json = false;
};

void inspect(const Options& options) {
  const fs::path directory = options.model;
  ModelConfig config = read_named_config(options.model);
  const Weights weights = check_weights(config, directory);
  fs::path shown = directory.lexically_normal();
  if (!shown.has_filename()) shown = shown.parent_path();
  const std::string name = shown.filename().string();
  if (options.json) {
    print_json(to_json(name, config, weights));
  } else {
    fmt::print("{}  {}\n\n", bold(name), architecture_name(config.family));
    print_shape(config);
    const ParameterCount count = count_parameters(config);
    print_counts(config, count);
    print_costs(config, count);
    print_weights(weights);
  }
  UM_CHECK(weights.missing.empty(), "{}: missing tensors: {}, the first {}", directory.string(),
           weights.missing.size(), weights.missing.front());
  UM_CHECK(weights.wrong.empty(), "{}: wrong tensors: {}, the first {}", directory.string(),
           weights.wrong.size(), weights.wrong.front());
}

}  // namespace

void add_inspect(CLI::App& app, Globals& globals) {
  CLI::App* command = add_command(
      app, "inspect", "parameters, sizes and costs of a model; what its files lack", globals);
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "model directory, .gguf file or name of a preset")
      ->type_name("DIR|FILE.gguf|PRESET")
      ->required();
  add_json_flag(command, options->json);
  run_with(command, globals, [options] { inspect(*options); });
}

}  // namespace um
