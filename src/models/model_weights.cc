// See model_weights.h. Facts: docs/models.md.
#include "models/model_weights.h"

#include <algorithm>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "models/model.h"
#include "ops/devices.h"

namespace um {
namespace {

bool has_layer(const WeightSource& source, int64_t layer, const ModelConfig& config) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const auto& tensors = source.tensors();
  for (auto at = tensors.lower_bound(prefix); at != tensors.end(); ++at) {
    if (!at->first.starts_with(prefix)) return false;
    if (!is_redundant(at->first, config)) return true;
  }
  return false;
}

/// transformers drops MTP layers when it saves a model, and leaves their number in the config.
void follow_mtp_layers(const WeightSource& source, ModelConfig& config,
                       std::vector<std::string>* warnings) {
  const int64_t stated = config.mtp_layers;
  while (config.mtp_layers > 0 && !has_layer(source, config.layers + config.mtp_layers - 1, config))
    --config.mtp_layers;
  if (config.mtp_layers == stated || warnings == nullptr) return;
  warnings->push_back(
      fmt::format("{}: the config has {} MTP layer{}, the weights have {}: no tensors of layer {}",
                  source.where(), stated, stated == 1 ? "" : "s", config.mtp_layers,
                  config.layers + config.mtp_layers));
}

/// `name` without its end, if it ends so.
std::optional<std::string> before(const std::string& name, std::string_view end) {
  if (!name.ends_with(end)) return {};
  return name.substr(0, name.size() - end.size());
}

/// Finds a model's tensors in the other forms that checkpoints have them in.
class OtherForms {
 public:
  OtherForms(const ModelConfig& config, WeightSource& source) : config_(config), source_(source) {}

  /// Throws Error if a tensor that is there is in another form, too: nothing says which is meant.
  void check_only_form(const std::string& name) const {
    for (const std::string& other : {other_bias(name), separate_query(name), fused_experts(name)})
      UM_CHECK(other.empty() || source_.find(other) == nullptr,
               "{}: tensors {} and {}: expected one of the two, found both; remove the one that is "
               "not meant, or fetch the checkpoint again",
               source_.where(), quote(name), quote(other));
  }

  /// Adds the tensor of this name if there is such a form.
  void add(const std::string& name) {
    std::optional<StoredWeight> found = router_bias(name);
    if (!found) found = joined_qkv(name);
    if (!found) found = expert(name);
    if (found) source_.add(name, std::move(*found));
  }

  /// What was put in another form is no longer there in the old one.
  void finish() {
    for (const std::string& name : used_) source_.remove(name);
  }

 private:
  const StoredWeight* take(const std::string& name) {
    const StoredWeight* weight = source_.find(name);
    if (weight != nullptr) used_.insert(name);
    return weight;
  }

  /// Names in the other form, empty where there is none: of a router's bias, which stands beside
  /// the gate (Pangu) or is its child (DeepSeek), of q, k and v in one, of one expert.
  static std::string other_bias(const std::string& name) {
    const std::string child = "gate.e_score_correction_bias", sibling = "e_score_correction_bias";
    if (const auto mlp = before(name, child)) return *mlp + sibling;
    if (const auto mlp = before(name, sibling)) return *mlp + child;
    return {};
  }
  static std::string separate_query(const std::string& name) {
    const auto attention = before(name, "qkv_proj.weight");
    return attention ? *attention + "q_proj.weight" : "";
  }
  static std::string fused_experts(const std::string& name) {
    const size_t at = name.rfind(".experts.");
    if (at == std::string::npos) return {};
    const bool down = name.ends_with(".down_proj.weight");
    return name.substr(0, at + 9) + (down ? "down_proj" : "gate_up_proj");
  }

  std::optional<StoredWeight> router_bias(const std::string& name) {
    const std::string other = other_bias(name);
    const StoredWeight* weight = other.empty() ? nullptr : take(other);
    return weight == nullptr ? std::nullopt : std::optional(*weight);
  }

  /// q, k and v apart.
  std::optional<StoredWeight> joined_qkv(const std::string& name) {
    const auto attention = before(name, "qkv_proj.weight");
    if (!attention || source_.find(separate_query(name)) == nullptr) return {};
    std::optional<StoredWeight> all;
    for (const char* part : {"q_proj.weight", "k_proj.weight", "v_proj.weight"}) {
      StoredWeight next = source_.at(*attention + part);
      UM_CHECK(next.shape.size() == 2 && (!all || next.columns() == all->columns()),
               "{}: tensor {}: shape [{}], expected a matrix with as many columns as {}q_proj",
               source_.where(), *attention + part, fmt::join(next.shape, ", "), *attention);
      used_.insert(*attention + part);
      next = reshaped(next, {1, next.shape[0], next.shape[1]});
      all = all ? join_middle(*all, next) : next;
    }
    return reshaped(*all, {all->shape[1], all->shape[2]});
  }

  /// All experts of a layer in two tensors, as transformers 5 has them in memory.
  std::optional<StoredWeight> expert(const std::string& name) {
    const int64_t E = config_.moe.experts, F = config_.moe.expert_width, D = config_.hidden;
    const std::string fused = fused_experts(name);
    if (fused.empty()) return {};
    const std::string rest = name.substr(name.rfind(".experts.") + 9);
    const int64_t e = std::stoll(rest);  // of a name of ours: "12.up_proj.weight"
    const bool down = rest.ends_with(".down_proj.weight"), up = rest.ends_with(".up_proj.weight");
    const StoredWeight* all = take(fused);
    if (all == nullptr) return {};
    check_weight(*all, fused,
                 down ? std::vector<int64_t>{E, D, F} : std::vector<int64_t>{E, 2 * F, D},
                 source_.where());
    UM_CHECK(all->exact && source_.find(fused + "_scale_inv") == nullptr &&
                 source_.find(fused + "_scale") == nullptr,
             "{}: tensor {}: quantised experts in one tensor cannot be read", source_.where(),
             fused);
    if (down) return row_slice(*all, e * D, {D, F});
    return row_slice(*all, (2 * e + (up ? 1 : 0)) * F, {F, D});
  }

  const ModelConfig& config_;
  WeightSource& source_;
  std::set<std::string> used_;
};

void use_family_names(const ModelConfig& config, WeightSource& source) {
  const auto model = make_model(config, dry_device());
  OtherForms forms(config, source);
  for (const auto& param : model->params().all())
    for (const Piece& piece : param->pieces) {
      if (source.find(piece.name) == nullptr)
        forms.add(piece.name);
      else
        forms.check_only_form(piece.name);
    }
  forms.finish();
}

}  // namespace

bool is_redundant(std::string_view name, const ModelConfig& config) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  if (config.tie_embeddings && name == "lm_head.weight") return true;
  return name.starts_with("model.layers.") &&
         (name.ends_with(".embed_tokens.weight") || name.ends_with(".shared_head.head.weight"));
}

std::optional<std::string> copied_tensor(std::string_view name, const ModelConfig& config) {
  if (!is_redundant(name, config) || name.ends_with(".rotary_emb.inv_freq")) return {};
  const bool head = name.ends_with("head.weight") && !config.tie_embeddings;
  return head ? "lm_head.weight" : "model.embed_tokens.weight";
}

WeightSource open_model_weights(const std::filesystem::path& path, ModelConfig& config,
                                std::vector<std::string>* warnings) {
  WeightSource source = open_weights(path);
  if (source.find("lm_head.weight") == nullptr) config.tie_embeddings = true;
  follow_mtp_layers(source, config, warnings);
  use_family_names(config, source);
  return source;
}

}  // namespace um
