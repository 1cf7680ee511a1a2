// See checkpoint.h.
#include "models/checkpoint.h"

#include <sys/sysinfo.h>

#include <nlohmann/json.hpp>
#include <set>

#include "models/config.h"
#include "models/count.h"

namespace um {
namespace {

void load_piece(const Param& param, const Piece& piece, const TensorView& stored,
                const std::string& where) {
  std::vector<int64_t> expected;
  expected.reserve(static_cast<size_t>(piece.shape.rank()));
  for (int i = 0; i < piece.shape.rank(); ++i) expected.push_back(piece.shape[i]);
  UM_CHECK(stored.shape == expected, "{}: tensor {}: expected shape [{}], found [{}]", where,
           piece.name, fmt::join(expected, ", "), fmt::join(stored.shape, ", "));
  float* target = param.value.f32();
  if (target == nullptr) return;
  convert_to_f32(stored.dtype, stored.bytes.data(), target + piece.begin,
                 static_cast<size_t>(piece.shape.count()));
}

/// Tensors that published checkpoints carry and nobody needs: rotary tables, the MTP heads' copies
/// of the trunk's embedding and head, a head beside tied embeddings.
bool is_redundant(std::string_view name, const ModelConfig& config) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  if (config.tie_embeddings && name == "lm_head.weight") return true;
  return name.starts_with("model.layers.") &&
         (name.ends_with(".embed_tokens.weight") || name.ends_with(".shared_head.head.weight"));
}

/// generation_config.json: the tokens that begin, end and fill a text, for engines that look there.
nlohmann::json generation_config(const ModelConfig& config) {
  nlohmann::json json = nlohmann::json::object();
  if (config.bos >= 0) json["bos_token_id"] = config.bos;
  if (config.pad >= 0) json["pad_token_id"] = config.pad;
  if (config.eos.size() == 1) json["eos_token_id"] = config.eos[0];
  if (config.eos.size() > 1) json["eos_token_id"] = config.eos;
  return json;
}

}  // namespace

void load_weights(Model& model, const CheckpointReader& reader,
                  std::vector<std::string>* warnings) {
  const std::string where = reader.path().string();
  std::set<std::string_view> used;
  for (const auto& param : model.params().all())
    for (const Piece& piece : param->pieces) {
      load_piece(*param, piece, reader.at(piece.name), where);
      used.insert(piece.name);
    }
  if (warnings == nullptr) return;
  *warnings = reader.warnings();
  for (const auto& [name, view] : reader.tensors())
    if (!used.contains(name) && !is_redundant(name, model.config()))
      warnings->push_back(fmt::format("{}: tensor {} is not part of the model", where, name));
}

std::unique_ptr<Model> load_model(const std::filesystem::path& directory, Device& device,
                                  std::vector<std::string>* warnings) {
  ModelConfig config = read_config(directory);
  UM_CHECK(
      std::filesystem::exists(directory / "model.safetensors") ||
          std::filesystem::exists(directory / "model.safetensors.index.json"),
      "{}: no weights (model.safetensors or model.safetensors.index.json); `ultramoe init` makes "
      "random ones, `ultramoe train` trains them",
      directory.string());
  const CheckpointReader reader(directory);
  // Some exports leave the flag out: no separate head means that the embedding serves as one.
  if (reader.find("lm_head.weight") == nullptr) config.tie_embeddings = true;
  check_fits_memory(config, 4, "loading " + directory.string());
  auto model = make_model(config, device);
  load_weights(*model, reader, warnings);
  return model;
}

std::vector<TensorSpec> checkpoint_specs(const ParamStore& params, DType dtype,
                                         const std::string& prefix) {
  std::vector<TensorSpec> specs;
  for (const auto& param : params.all()) {
    for (const Piece& piece : param->pieces) {
      TensorSpec spec{prefix + piece.name, param->buffer ? DType::f32 : dtype, {}};
      for (int i = 0; i < piece.shape.rank(); ++i) spec.shape.push_back(piece.shape[i]);
      specs.push_back(std::move(spec));
    }
  }
  return specs;
}

TensorSource checkpoint_source(const ParamStore& params, ParamTensor pick,
                               const std::string& prefix) {
  struct Place {
    const Param* param;
    const Piece* piece;
  };
  auto places = std::make_shared<std::map<std::string, Place>>();
  for (const auto& param : params.all())
    for (const Piece& piece : param->pieces) (*places)[prefix + piece.name] = {param.get(), &piece};
  return [places, pick = std::move(pick)](const TensorSpec& spec, const TensorSink& sink) {
    const Place place = places->at(spec.name);
    const float* values = pick(*place.param).f32() + place.piece->begin;
    const auto count = static_cast<size_t>(place.piece->shape.count());
    if (spec.dtype == DType::f32) return sink(std::as_bytes(std::span(values, count)));
    constexpr size_t kChunk = size_t{1} << 20;
    std::vector<std::byte> converted(std::min(count, kChunk) * dtype_size(spec.dtype));
    for (size_t begin = 0; begin < count; begin += kChunk) {
      const size_t n = std::min(kChunk, count - begin);
      convert_from_f32(spec.dtype, values + begin, converted.data(), n);
      sink(std::span(converted).first(n * dtype_size(spec.dtype)));
    }
  };
}

void save_model(const Model& model, const std::filesystem::path& directory,
                uint64_t max_shard_bytes) {
  make_directories(directory);
  write_file_atomic(directory / "config.json", config_to_json(model.config()).dump(2) + "\n");
  write_file_atomic(directory / "generation_config.json",
                    generation_config(model.config()).dump(2) + "\n");
  write_checkpoint(
      directory, checkpoint_specs(model.params(), model.config().dtype),
      checkpoint_source(model.params(),
                        [](const Param& param) -> const Tensor& { return param.value; }),
      max_shard_bytes);
}

void check_fits_memory(const ModelConfig& config, int64_t bytes_per_param,
                       const std::string& what) {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return;
  const double available = static_cast<double>(info.totalram) * static_cast<double>(info.mem_unit);
  const auto params = static_cast<double>(count_parameters(config).total_with_mtp());
  const double needed = params * static_cast<double>(bytes_per_param);
  UM_CHECK(
      needed <= available,
      "{}: {:.2f} billion parameters need {:.1f} GB ({} bytes each), this machine has {:.1f} GB",
      what, params / 1e9, needed / 1e9, bytes_per_param, available / 1e9);
}

}  // namespace um
