// See mapped.h.
#include "models/mapped.h"

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/paths.h"
#include "core/safetensors.h"
#include "models/config.h"
#include "ops/devices.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLine = 64;  // bytes; every part begins at a multiple
constexpr const char* kLayout = "2";

constexpr std::array<std::pair<RowType, const char*>, 6> kTypes{{{RowType::f32, "f32"},
                                                                 {RowType::bf16, "bf16"},
                                                                 {RowType::panel8, "panel8"},
                                                                 {RowType::panel6, "panel6"},
                                                                 {RowType::panel5, "panel5"},
                                                                 {RowType::panel4, "panel4"}}};
constexpr std::array<std::pair<ScaleType, const char*>, 3> kScaleTypes{
    {{ScaleType::f32, "f32"}, {ScaleType::f16, "f16"}, {ScaleType::coded, "coded"}}};

template <class T, size_t n>
const char* name_of(const std::array<std::pair<T, const char*>, n>& names, T value) {
  for (const auto& [type, name] : names)
    if (type == value) return name;
  fail("a type without a name");
}

template <class T, size_t n>
T value_of(const std::array<std::pair<T, const char*>, n>& names, const JsonObject& object,
           const std::string& key) {
  const std::string text = object.string(key);
  for (const auto& [type, name] : names)
    if (text == name) return type;
  fail("{}: {}: {}, which this version does not know", object.where(), key, quote(text));
}

Json format_json(const RowFormat& format) {
  return {{"type", name_of(kTypes, format.type)},
          {"group", format.group},
          {"scales", name_of(kScaleTypes, format.scale_type)},
          {"offsets", format.offsets},
          {"rotation", format.rotation}};
}

RowFormat format_of(const JsonObject& object) {
  const RowFormat format{.type = value_of(kTypes, object, "type"),
                         .group = object.integer("group", 0, kWholeRow),
                         .scale_type = value_of(kScaleTypes, object, "scales"),
                         .offsets = object.boolean("offsets"),
                         .rotation = object.integer("rotation", 0, kMaxRotation)};
  UM_CHECK(format.rotation == 0 || is_rotation(format.rotation),
           "{}: rotation: expected a power of two, found {}", object.where(), format.rotation);
  return format;
}

/// What a mapped file says of itself beside its tensors.
struct Description {
  WeightTypes weights;
  int64_t mtp_layers = 0;
  bool tied = false;

  Json json() const {
    Json others = Json::object();
    for (const auto& [name, format] : weights.others) others[name] = format_json(format);
    return {{"matrices", format_json(weights.matrices)},
            {"others", others},
            {"mtp_layers", mtp_layers},
            {"tied", tied}};
  }

  static Description of(const Json& json, const std::string& where) {
    const JsonObject object(json, where);
    Description out;
    out.weights = format_of(object.object("matrices"));
    const JsonObject others = object.object("others");
    for (const auto& [name, unused] : others.json().items())
      out.weights.others[name] = format_of(others.object(name));
    out.mtp_layers = object.integer("mtp_layers", 0);
    out.tied = object.boolean("tied");
    return out;
  }
};

int64_t padded(int64_t bytes) {
  return (bytes + kLine - 1) / kLine * kLine;
}

/// The parts of a parameter and their names.
std::vector<std::pair<std::string, Tensor>> parts_of(const Param& param) {
  const Rows rows = param.weight();
  std::vector<std::pair<std::string, Tensor>> parts;
  const auto add = [&](const char* part, const Tensor& tensor) {
    if (tensor) parts.emplace_back(param.name + "/" + part, tensor);
  };
  add("values", rows.values);
  add("scales", rows.scales);
  add("offsets", rows.offsets);
  return parts;
}

void write_part(const Param& param, const TensorSpec& spec, const TensorSink& sink) {
  for (const auto& [name, tensor] : parts_of(param)) {
    if (name != spec.name) continue;
    sink({tensor.raw(), tensor.bytes()});
    sink(std::vector<std::byte>(spec.byte_size() - tensor.bytes()));
  }
}

/// The model's description, which `config` follows.
Description described(const SafetensorsFile& file, const std::string& where, ModelConfig& config) {
  const auto& metadata = file.metadata();
  const auto layout = metadata.find("ultramoe_layout"), weights = metadata.find("ultramoe_weights");
  UM_CHECK(layout != metadata.end() && weights != metadata.end() && layout->second == kLayout,
           "{}: not in this version's layout of memory; convert the model again", where);
  Description out = Description::of(parse_json(weights->second, where), where);
  UM_CHECK(out.mtp_layers <= config.mtp_layers, "{}: {} MTP heads, config.json has {}", where,
           out.mtp_layers, config.mtp_layers);
  config.mtp_layers = out.mtp_layers;
  config.tie_embeddings = out.tied;
  return out;
}

}  // namespace

bool is_mapped(const fs::path& directory) {
  return path_exists(directory / kMappedFile);
}

void write_mapped(const ModelConfig& config, const WeightTypes& weights, const WeightSource& source,
                  const fs::path& directory, const LoadProgress& progress) {
  // On the dry device until a parameter's turn comes.
  const auto model = make_model(config, dry_device(), weights);
  std::vector<TensorSpec> specs;
  std::map<std::string, Param*> owners;
  uint64_t done = 0, all = 0;
  for (const auto& param : model->params().all())
    for (const auto& [name, tensor] : parts_of(*param)) {
      specs.push_back({name, DType::i8, {padded(static_cast<int64_t>(tensor.bytes()))}});
      owners[name] = param.get();
      all += specs.back().byte_size();
    }
  Param* loaded = nullptr;
  const auto load = [&](Param* param) {
    if (param == loaded) return;
    if (loaded != nullptr) loaded->release();
    loaded = param;
    param->allocate(cpu_device());
    // Padding of panels, which nobody writes, has a value, too.
    if (param->codes) std::memset(param->codes.values.raw(), 0, param->codes.values.bytes());
    load_param(*param, source);
  };
  const Description description{weights, config.mtp_layers, config.tie_embeddings};
  write_safetensors(
      directory / kMappedFile, specs,
      [&](const TensorSpec& spec, const TensorSink& sink) {
        load(owners.at(spec.name));
        write_part(*loaded, spec, sink);
        if (progress) progress(done += spec.byte_size(), all);
      },
      {{"ultramoe_layout", kLayout}, {"ultramoe_weights", to_text(description.json())}}, kLine);
}

std::unique_ptr<Model> map_model(const fs::path& directory, Device& device,
                                 const std::optional<WeightTypes>& weights,
                                 std::vector<std::string>* warnings) {
  const std::string where = (directory / kMappedFile).string();
  const auto file = std::make_shared<const SafetensorsFile>(directory / kMappedFile);
  ModelConfig config = read_config(directory);
  const Description description = described(*file, where, config);
  UM_CHECK(!weights || *weights == description.weights,
           "{}: the weights are mapped in {}; for another --dtype use the model that they were "
           "made of",
           where, format_name(description.weights.matrices));
  auto model = make_model(config, device, description.weights, nullptr, ParamMemory::vectors);
  for (const auto& param : model->params().all()) {
    param->place([&](const std::string& part, Shape shape, DType dtype) {
      const std::string name = param->name + "/" + part;
      const TensorView* stored = file->find(name);
      UM_CHECK(stored != nullptr, "{}: tensor {} is missing", where, name);
      const auto bytes = shape.count() * static_cast<int64_t>(dtype_size(dtype));
      UM_CHECK(std::cmp_equal(stored->bytes.size(), padded(bytes)) &&
                   reinterpret_cast<uintptr_t>(stored->bytes.data()) % kLine == 0,
               "{}: tensor {}: {} bytes; the model of config.json has {} {} there", where, name,
               stored->bytes.size(), shape.text(), dtype_name(dtype));
      return Tensor::over(device, shape, dtype, stored->bytes.data(), file);
    });
  }
  if (warnings != nullptr && std::cmp_greater(file->file().bytes().size(), memory_bytes()))
    warnings->push_back(where +
                        ": larger than this machine's memory: parts are read again and again");
  return model;
}

}  // namespace um
