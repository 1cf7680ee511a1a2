// See quantize.h.
#include "quant/quantize.h"

#include <charconv>
#include <map>

#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/pack_export.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStateFile = "quantize_state.json";
constexpr uint64_t kMaxStateBytes = uint64_t{256} << 20;
constexpr int64_t kOthers = -1;  // the tensors of no layer

/// The layer that a tensor belongs to.
int64_t layer_of(const std::string& name) {
  constexpr std::string_view kLayers = "model.layers.";
  int64_t layer = kOthers;
  if (name.starts_with(kLayers))
    std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
  return layer;
}

/// A piece of a parameter as a checkpoint stores it, all of it in f32.
Tensor read_matrix(const StoredWeight& weight, Device& device) {
  Tensor values = Tensor::empty(device, {weight.rows(), weight.columns()});
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t r = 0; r < weight.rows(); ++r)
    weight.read(r, 1, values.f32() + r * weight.columns());
  return values;
}

void check_finite(const Tensor& values, const std::string& where, const std::string& name) {
  for (int64_t i = 0; i < values.count(); ++i)
    UM_CHECK(std::isfinite(values.f32()[i]), "{}: {}: element {} is {}; the weights are damaged",
             where, name, i, values.f32()[i]);
}

Json to_json(const QuantizedMatrix& matrix) {
  return {{"name", matrix.name},
          {"layer", matrix.layer},
          {"method", round_method_name(matrix.method)},
          {"bits", matrix.bits},
          {"values", matrix.values},
          {"inputs", matrix.inputs},
          {"weight_error", matrix.errors.weights},
          {"output_error", matrix.errors.outputs},
          {"note", matrix.note}};
}

QuantizedMatrix matrix_from(const Json& json) {
  return {json.at("name"),
          json.at("layer"),
          round_method(json.at("method").get<std::string>()),
          json.at("bits"),
          json.at("values"),
          json.at("inputs"),
          {json.at("weight_error"), json.at("output_error")},
          json.at("note")};
}

}  // namespace

Quantization::Quantization(const fs::path& from, const fs::path& to, const QuantizeOptions& options,
                           Device& device)
    : from_(from),
      to_(to),
      options_(options),
      device_(device),
      conversion_(from, to, {}, options.format) {
  UM_CHECK(!path_exists(to / "config.json") || path_exists(to / kStateFile),
           "{}: there is a model here; name a new one or remove it", to.string());
  config_ = conversion_.resolved_config();
  layers_ = config_.layers + config_.mtp_layers;
  read_state();
}

Json Quantization::settings() const {
  return {{"from", fs::absolute(from_).lexically_normal().string()},
          {"bytes", conversion_.source().total_bytes()},
          {"scheme", format_name(options_.format)},
          {"method", round_method_name(options_.method)},
          {"min_rows", options_.min_rows},
          {"texts", options_.texts}};
}

void Quantization::read_state() {
  const fs::path path = to_ / kStateFile;
  if (!path_exists(path)) return;
  const Json state = read_json_file(path, kMaxStateBytes);
  const auto refuse = [&](const char* what) {
    fail("{}: {}; repeat the command that began it, or remove the directory", to_.string(), what);
  };
  try {
    if (state.at("settings") != settings())
      refuse("an unfinished quantisation of another model, or with other settings, is here");
    for (const Json& layer : state.at("layers")) {
      Layer& finished = finished_.emplace_back();
      for (const Json& matrix : layer) finished.matrices.push_back(matrix_from(matrix));
    }
  } catch (const Json::exception&) {
    refuse("quantize_state.json is damaged");
  }
  for (int64_t layer = 0; layer < finished_layers(); ++layer)
    if (layer >= layers_ || !path_exists(to_ / shard(layer)))
      refuse("files of the unfinished quantisation are missing");
}

void Quantization::write_state() const {
  Json layers = Json::array();
  for (const Layer& layer : finished_) {
    Json matrices = Json::array();
    for (const QuantizedMatrix& matrix : layer.matrices) matrices.push_back(to_json(matrix));
    layers.push_back(std::move(matrices));
  }
  write_file_atomic(to_ / kStateFile,
                    to_text(Json{{"settings", settings()}, {"layers", layers}}) + "\n");
}

std::string Quantization::shard(int64_t layer) const {
  const auto count = static_cast<size_t>(layers_) + 1;
  return shard_name(layer == kOthers ? count - 1 : static_cast<size_t>(layer), count);
}

std::vector<TensorSpec> Quantization::tensors_of(int64_t layer) const {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : conversion_.tensors())
    if (layer_of(tensor.name) == layer) tensors.push_back(tensor);
  return tensors;
}

int64_t Quantization::memory_bytes(int64_t tokens) const {
  const int64_t layer = LayerWalk::largest_layer_bytes(config_);
  if (tokens == 0) return layer;
  const AttentionConfig& a = config_.attention;
  const int64_t top = std::max<int64_t>(config_.moe.top_k, 1);
  const int64_t feed =
      std::max(config_.dense_width, top * config_.moe.expert_width + config_.moe.shared_width);
  // What goes from layer to layer, twice while a layer runs, and a layer's inputs.
  const int64_t channels = 2 * (config_.streams + 1) * config_.hidden + 2 * config_.hidden +
                           a.q_lora_rank + a.heads * a.v_dim + feed;
  const int64_t widest = std::max({config_.hidden, a.heads * a.v_dim, config_.dense_width});
  return layer + 4 * tokens * channels + 2 * 4 * widest * widest;
}

void Quantization::write_shard(int64_t layer, const CodesOf& codes) {
  PackWriter packs;
  write_safetensors(to_ / shard(layer), tensors_of(layer),
                    [&](const TensorSpec& part, const TensorSink& sink) {
                      const std::string* name = conversion_.packed_matrix(part.name);
                      if (name == nullptr) return conversion_.write_plain(part, sink);
                      StoredWeight weight = conversion_.source().at(*name);
                      weight.codes = codes(*name);
                      packs.write(*name, weight, options_.format, part, sink);
                    });
}

namespace {

/// Integers that are already known, as those of a file.
StoredWeight::Codes codes_of(const std::vector<RowCodes>& rows, const RowFormat& format) {
  return {format, [&rows](int64_t row, RowCodes& out) { out = rows[static_cast<size_t>(row)]; }};
}

}  // namespace

QuantizedMatrix Quantization::quantize_matrix(const std::string& name, const MatrixInputs* inputs,
                                              MatrixRounder& rounder,
                                              std::vector<RowCodes>& rows) const {
  const StoredWeight& stored = conversion_.source().at(name);
  QuantizedMatrix matrix;
  matrix.name = name;
  matrix.layer = layer_of(name);
  matrix.method = options_.method;
  matrix.values = stored.rows() * stored.columns();
  matrix.bits = 8.0 * static_cast<double>(options_.format.row_bytes(stored.columns())) /
                static_cast<double>(stored.columns());
  matrix.inputs = inputs == nullptr ? 0 : inputs->rows();
  const Tensor weights = read_matrix(stored, device_);
  check_finite(weights, conversion_.source().where(), name);
  const bool few = needs_inputs(options_.method) && matrix.inputs < options_.min_rows;
  RoundedMatrix rounded = rounder.round(weights, few ? nullptr : inputs);
  if (few) {
    matrix.method = RoundMethod::ssz;
    matrix.note = fmt::format("{} inputs of {}", matrix.inputs, options_.min_rows);
  } else if (matrix.method == RoundMethod::gptq && !rounded.compensated) {
    matrix.method = RoundMethod::weighted;
    matrix.note = "its inputs' Gram matrix has no factor";
  }
  matrix.errors = rounded.errors;
  rows = std::move(rounded.rows);
  return matrix;
}

void Quantization::quantize_layer(int64_t layer, const std::vector<const Param*>& params,
                                  const InputRecorder* inputs) {
  Layer result;
  MatrixRounder rounder(options_.method, options_.format);
  std::map<std::string, std::vector<RowCodes>> codes;
  for (const Param* param : params)
    for (const Piece& piece : param->pieces) {
      const std::string part = piece.name + "_packed";
      if (conversion_.packed_matrix(part) == nullptr) continue;
      result.matrices.push_back(
          quantize_matrix(piece.name, inputs == nullptr ? nullptr : inputs->find(*param, piece),
                          rounder, codes[piece.name]));
    }
  write_shard(layer,
              [&](const std::string& name) { return codes_of(codes.at(name), options_.format); });
  finished_.push_back(std::move(result));
  write_state();
}

std::vector<QuantizedMatrix> Quantization::run(
    std::vector<LayerWalk::Batch> batches,
    const std::function<void(const QuantizeStep&)>& progress) {
  make_directories(to_);
  const DirectoryLock lock(to_, "another program is quantising into it");
  LayerWalk walk(config_, conversion_.source(), device_, std::move(batches));
  for (int64_t layer = 0; layer < layers_; ++layer) {
    const bool known = layer < finished_layers();
    const std::vector<const Param*> params = walk.matrices(layer);
    std::optional<InputRecorder> inputs;
    if (walk.batches() > 0) {
      progress({layer, layers_, known ? "again" : "inputs"});
      walk.load();
      inputs.emplace(params);
      if (known) {
        walk.run();
      } else {
        const Observing watched(device_, *inputs);
        walk.run();
      }
    }
    walk.release();
    if (known) continue;
    progress({layer, layers_, "rounding"});
    quantize_layer(layer, params, inputs ? &*inputs : nullptr);
  }
  progress({layers_, layers_, "writing the rest"});
  finish();
  std::vector<QuantizedMatrix> all;
  for (const Layer& layer : finished_)
    all.insert(all.end(), layer.matrices.begin(), layer.matrices.end());
  return all;
}

/// The tensors of no layer, the index and the other files; then it is a model.
void Quantization::finish() {
  write_shard(kOthers, [](const std::string& name) -> StoredWeight::Codes {
    fail("{}: a matrix of no layer is not quantised", name);
  });
  std::map<std::string, std::string> shards;
  for (const TensorSpec& tensor : conversion_.tensors())
    shards[tensor.name] = shard(layer_of(tensor.name));
  write_shard_index(to_, shards, conversion_.bytes());
  CheckpointDirectory output(to_);
  conversion_.write_texts();
  std::error_code error;
  fs::remove(to_ / kStateFile, error);
  UM_CHECK(!error, "{}: cannot remove: {}", (to_ / kStateFile).string(), error.message());
  output.seal();
  output.keep();
}

}  // namespace um
