// See quantization_config.h.
#include "models/quantization_config.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "core/error.h"
#include "core/paths.h"
#include "kernels/args/row_format.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxDescriptionBytes = uint64_t{256} << 20;
constexpr size_t kMaxPatterns = 1000;  // each is tried on every matrix
constexpr int64_t kMaxBlock = 1 << 20;

/// What ModelSlim's W8A8 has beside `weight`.
constexpr std::array kDescribedSides{"weight_scale", "weight_offset", "input_scale",
                                     "input_offset", "quant_bias",    "deq_scale"};

/// Two extents in a list.
ScaleBlocks read_blocks(const JsonObject& config, const std::string& key) {
  const Json& size = *config.find(key);
  const auto extent = [](const Json& value) {
    return value.is_number_unsigned() && value.get<uint64_t>() >= 1 &&
           value.get<uint64_t>() <= kMaxBlock;
  };
  UM_CHECK(size.is_array() && size.size() == 2 && extent(size[0]) && extent(size[1]),
           "{}: {}: expected two positive numbers, found {}", config.where(), key, describe(size));
  return {size[0].get<int64_t>(), size[1].get<int64_t>()};
}

/// A list of texts, empty if there is none.
std::vector<std::string> strings_or_none(const JsonObject& config, const std::string& key) {
  return config.has(key) ? config.strings(key) : std::vector<std::string>();
}

/// Whether a weight's actorder is the one that has a g_idx.
bool read_order(const JsonObject& weights) {
  const Json* order = weights.find("actorder");
  if (order == nullptr) return false;
  if (order->is_boolean()) return order->get<bool>();
  const std::string name = weights.string("actorder");
  UM_CHECK(name == "group" || name == "dynamic" || name == "weight" || name == "static",
           "{}: actorder: expected group or weight, found {}", weights.where(), quote(name));
  return name == "group" || name == "dynamic";
}

/// How many values have a scale in common: strategy, group_size, block_structure.
void read_strategy(const JsonObject& weights, WeightScheme& scheme) {
  const int64_t group = weights.integer_or("group_size", 0, -1, kMaxBlock);
  scheme.strategy = weights.string_or("strategy", group > 0     ? "group"
                                                  : group == -1 ? "channel"
                                                                : "tensor");
  const std::string& name = scheme.strategy;
  UM_CHECK(name == "tensor" || name == "channel" || name == "group" || name == "block",
           "{}: strategy: expected tensor, channel, group or block, found {}", weights.where(),
           quote(name));
  UM_CHECK((name == "group") == (group > 0),
           "{}: strategy {} with group_size {}: one contradicts the other", weights.where(), name,
           group);
  UM_CHECK((name == "block") == weights.has("block_structure"),
           "{}: strategy {} {} block_structure", weights.where(), name,
           name == "block" ? "without" : "with");
  if (name == "tensor") scheme.blocks = {0, 0};
  if (name == "channel") scheme.blocks = {1, 0};
  if (name == "group") scheme.blocks = {1, group};
  if (name == "block") scheme.blocks = read_blocks(weights, "block_structure");
  if (name == "group") scheme.strategy = fmt::format("group with group_size {}", group);
}

/// Whether a format packs its words; nothing for one that leaves it open. Throws Error for one that
/// we cannot read.
std::optional<bool> format_packs(const std::string& format, const std::string& where) {
  if (format.empty() || format == "mixed-precision") return {};
  if (format == "pack-quantized") return true;
  UM_CHECK(
      format == "int-quantized" || format == "float-quantized" || format == "naive-quantized",
      "{}: format {} cannot be read; expected pack-quantized, int-quantized, float-quantized or "
      "naive-quantized",
      where, quote(format));
  return false;
}

/// One group's scheme of weights.
WeightScheme read_weights(const JsonObject& weights, const std::string& format) {
  WeightScheme scheme;
  scheme.where = weights.where();
  scheme.bits = weights.integer_or("num_bits", 8, 1, 64);
  std::string type = weights.string_or("type", "int");
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  UM_CHECK(type == "int" || type == "float", "{}: type: expected int or float, found {}",
           weights.where(), quote(type));
  const bool floats = type == "float";
  UM_CHECK(floats ? scheme.bits == 8 : scheme.bits <= 8,
           "{}: {} of {} bits cannot be read; expected int of at most 8, or float of 8",
           weights.where(), type, *scheme.bits);
  scheme.packed = format_packs(format, weights.where());
  UM_CHECK(!(floats && (scheme.packed.value_or(false) || format == "int-quantized")) &&
               (floats || format != "float-quantized"),
           "{}: type {} contradicts format {}", weights.where(), type, format);
  scheme.dtype = floats ? DType::f8_e4m3 : DType::i8;
  scheme.symmetric = weights.boolean_or("symmetric", true);
  scheme.ordered = read_order(weights);
  read_strategy(weights, scheme);
  return scheme;
}

/// Whether a field says something: no null, false, empty text, list or object.
bool says(const JsonObject& config, const std::string& key) {
  const Json* value = config.find(key);
  if (value == nullptr) return false;
  return value->is_string() || value->is_structured() ? value->size() != 0 && *value != ""
                                                      : *value != false;
}

}  // namespace

ModuleList::ModuleList(const std::vector<std::string>& entries, const std::string& where,
                       bool parts)
    : parts_(parts) {
  for (const std::string& entry : entries) {
    if (entry.starts_with("re:")) {
      UM_CHECK(patterns_.size() < kMaxPatterns, "{}: more than {} patterns", where, kMaxPatterns);
      // As Python's re.match: from the beginning, and never empty so that Pcre finds it.
      patterns_.emplace_back("\\A(?:" + entry.substr(3) + ")[\\s\\S]*", where);
    } else if (entry == "Linear") {
      linear_ = true;
    } else if (entry == "Embedding") {
      embedding_ = true;
    } else {
      other_classes_ =
          other_classes_ || (!entry.empty() && std::isupper(static_cast<unsigned char>(entry[0])));
      names_.insert(entry);
    }
  }
}

int ModuleList::fit(const std::string& module) const {
  if (names_.contains(module)) return 3;
  for (size_t dot = module.find('.'); parts_ && dot != std::string::npos;
       dot = module.find('.', dot + 1))
    if (names_.contains(module.substr(0, dot)) || names_.contains(module.substr(dot + 1))) return 3;
  PcreScratch scratch;
  PcreMatch match;
  for (const Pcre& pattern : patterns_)
    if (PcreMatches(pattern, module, scratch).next(match)) return 2;
  const bool embedding = module.ends_with("embed_tokens");
  return (embedding ? embedding_ : linear_) ? 1 : 0;
}

void QuantizationConfig::read_fp8(const JsonObject& config) {
  WeightScheme scheme;
  scheme.where = config.where() + ": quant_method fp8";
  scheme.packed = false;
  const std::string kind = config.string_or("fmt", "e4m3");
  UM_CHECK(kind == "e4m3" || kind == "e5m2" || kind == "float8_e4m3fn" || kind == "float8_e5m2",
           "{}: fmt: expected e4m3 or e5m2, found {}", config.where(), quote(kind));
  scheme.dtype = kind.find("e5m2") != std::string::npos ? DType::f8_e5m2 : DType::f8_e4m3;
  if (config.has("weight_block_size")) {
    scheme.blocks = read_blocks(config, "weight_block_size");
    scheme.strategy =
        fmt::format("weight_block_size [{}, {}]", scheme.blocks->rows, scheme.blocks->columns);
  }
  scheme.bits = 8;
  all_ = scheme;
  for (const char* key : {"modules_to_not_convert", "ignored_layers"})
    if (config.has(key)) {
      as_it_is_.where = config.where() + ": " + key;
      ignored_ = ModuleList(config.strings(key), as_it_is_.where, true);
    }
}

/// Transforms of compressed-tensors. Those of weights are done in the files; what is left is what
/// is multiplied with them, before each matrix.
void QuantizationConfig::read_transforms(const JsonObject& transforms) {
  if (!says(transforms, "config_groups")) return;
  const JsonObject groups = transforms.object("config_groups");
  for (const auto& [name, unused] : groups.json().items()) {
    const JsonObject scheme = groups.object(name);
    if (!says(scheme, "apply")) continue;
    const Json& places = *scheme.find("apply");
    if (!places.is_array()) scheme.wrong("apply", "a list");
    for (size_t i = 0; i < places.size(); ++i) {
      const JsonObject place(places[i], fmt::format("{}: apply {}", scheme.where(), i));
      const std::string location = place.string("location");
      if (location == "weight_input" || location == "weight_output") continue;
      const std::string type = scheme.string("type");
      UM_CHECK(
          location == "input" && type == "hadamard" && !scheme.boolean_or("randomize", false),
          "{}: a transform {} at {} cannot be read; expected hadamard, not randomized, at input",
          place.where(), quote(type), quote(location));
      const int64_t block = scheme.integer_or("head_dim", 0, 1, kMaxRotation);
      UM_CHECK(block == 0 || is_rotation(block), "{}: head_dim: expected a power of two, found {}",
               scheme.where(), block);
      rotations_.push_back(
          {ModuleList(strings_or_none(place, "targets"), place.where() + ": targets"),
           ModuleList(strings_or_none(place, "ignore"), place.where() + ": ignore"), block,
           place.where()});
    }
  }
}

int64_t QuantizationConfig::rotation(const std::string& module, int64_t columns) const {
  const Rotation* found = nullptr;
  for (const Rotation& rotation : rotations_) {
    if (rotation.targets.fit(module) == 0 || rotation.ignored.fit(module) > 0) continue;
    UM_CHECK(found == nullptr, "{}: {} is transformed by {} already; only one can be read",
             rotation.where, quote(module), found->where);
    found = &rotation;
  }
  if (found == nullptr) return 0;
  const int64_t block = found->block == 0 ? columns : found->block;
  UM_CHECK(is_rotation(block) && columns % block == 0,
           "{}: {} reads {} channels; expected a power of two, or head_dim to divide it",
           found->where, quote(module), columns);
  return block;
}

void QuantizationConfig::read_compressed_tensors(const JsonObject& config) {
  const std::string format = config.string_or("format", "");
  as_it_is_.where = config.where() + ": ignore";
  ignored_ = ModuleList(strings_or_none(config, "ignore"), as_it_is_.where);
  untargeted_.where = config.where() + ": config_groups";
  if (says(config, "kv_cache_scheme"))
    warnings_.push_back(
        config.where() +
        ": kv_cache_scheme is not used: keys and values are kept as --cache-dtype says");
  if (says(config, "transform_config")) read_transforms(config.object("transform_config"));
  if (says(config, "sparsity_config")) {
    const std::string sparse = config.object("sparsity_config").string_or("format", "dense");
    UM_CHECK(sparse == "dense", "{}: sparsity_config: format {} cannot be read", config.where(),
             quote(sparse));
  }
  if (format == "dense" || format == "fakequant") {
    all_ = WeightScheme{};
    all_->quantised = false;
    all_->where = config.where() + ": format " + format;
    return;
  }
  format_packs(format, config.where());
  if (!config.has("config_groups")) return;
  const JsonObject groups = config.object("config_groups");
  for (const auto& [name, unused] : groups.json().items()) {
    const JsonObject group = groups.object(name);
    const std::string own = group.string_or("format", format);
    Group& made = groups_.emplace_back();
    made.targets = ModuleList(strings_or_none(group, "targets"), group.where() + ": targets");
    if (group.has("weights")) {
      made.scheme = read_weights(group.object("weights"), own);
    } else {
      made.scheme.quantised = false;
      made.scheme.where = group.where() + ": no weights";
    }
  }
}

void QuantizationConfig::read_description(const fs::path& path) {
  const Json json = read_json_file(path, kMaxDescriptionBytes);
  UM_CHECK(json.is_object(), "{}: expected an object", path.string());
  static const std::set<std::string> kKnown{"FLOAT", "W8A8", "W8A8_DYNAMIC"};
  described_ = true;
  as_it_is_.where = path.string();
  untargeted_.where = path.string();
  w8a8_.where = path.string();
  w8a8_.packed = false;
  w8a8_.dtype = DType::i8;
  w8a8_.strategy = "W8A8, a scale for each row";
  w8a8_.blocks = {1, 0};
  for (const auto& [tensor, type] : json.items()) {
    if (!type.is_string()) continue;  // versions and options
    const std::string& name = type.get_ref<const std::string&>();
    const bool weight = tensor.ends_with(".weight");
    UM_CHECK(!weight || kKnown.contains(name),
             "{}: tensor {}: expected FLOAT, W8A8 or W8A8_DYNAMIC, found {}", path.string(),
             quote(tensor), describe(type));
    if (tensor.find('.') != std::string::npos) types_[tensor] = name;
  }
  const JsonObject description(json, path.string());
  for (const char* key : {"kv_quant_type", "kv_cache_type", "fa_quant_type"})
    if (says(description, key) && *description.find(key) != "FLOAT")
      warnings_.push_back(
          fmt::format("{}: {} {} is not used: keys and values are kept as --cache-dtype says",
                      path.string(), key, describe(*description.find(key))));
}

QuantizationConfig::QuantizationConfig(const fs::path& directory) {
  as_it_is_.quantised = untargeted_.quantised = false;
  std::string method;
  if (path_exists(directory / "config.json")) {
    const std::string where = (directory / "config.json").string();
    const Json json = read_json_file(where, kMaxConfigBytes);
    for (const char* key : {"quantization_config", "compression_config"}) {
      const auto found = json.is_object() ? json.find(key) : json.end();
      if (!json.is_object() || found == json.end() || found->is_null() || quantised_) continue;
      quantised_ = true;
      const JsonObject config(*found, where + ": " + key);
      method =
          config.string_or("quant_method", config.has("config_groups") ? "compressed-tensors" : "");
      if (method == "fp8")
        read_fp8(config);
      else if (method == "compressed-tensors")
        read_compressed_tensors(config);
      else
        UM_CHECK(method == "ascend",
                 "{}: quant_method: expected fp8, compressed-tensors or ascend, found {}",
                 config.where(), quote(method));
    }
  }
  const fs::path description = directory / "quant_model_description.json";
  if ((method.empty() || method == "ascend") && path_exists(description))
    read_description(description);
}

const WeightScheme* QuantizationConfig::scheme(const std::string& module) const {
  if (described_) {
    const auto type = types_.find(module + ".weight");
    if (type == types_.end()) return &untargeted_;
    return type->second == "FLOAT" ? &as_it_is_ : &w8a8_;
  }
  if (ignored_.fit(module) > 0) return &as_it_is_;
  if (all_) return &*all_;
  if (groups_.empty()) return nullptr;
  const WeightScheme* best = &untargeted_;
  int fit = 0;
  for (const Group& group : groups_)
    if (const int this_fit = group.targets.fit(module); this_fit > fit) {
      fit = this_fit;
      best = &group.scheme;
    }
  const bool open = std::any_of(groups_.begin(), groups_.end(),
                                [](const Group& g) { return g.targets.has_other_classes(); });
  return fit == 0 && open ? nullptr : best;
}

void QuantizationConfig::check_described(const CheckpointReader& reader) const {
  for (const auto& [tensor, type] : types_) {
    const size_t dot = tensor.rfind('.');
    const std::string module = tensor.substr(0, dot), kind = tensor.substr(dot + 1);
    const auto weight = types_.find(module + ".weight");
    if (weight == types_.end() || reader.find(weight->first) == nullptr) continue;
    if (std::find(kDescribedSides.begin(), kDescribedSides.end(), kind) == kDescribedSides.end())
      continue;
    UM_CHECK(type == weight->second, "{}: tensor {}: {}, but its weight is {}; one is wrong",
             as_it_is_.where, quote(tensor), quote(type), quote(weight->second));
    UM_CHECK(reader.find(tensor) != nullptr,
             "{}: tensor {}: missing, but {} says {}; fetch the checkpoint again",
             reader.path().string(), quote(tensor), as_it_is_.where, type);
  }
}

}  // namespace um
