// See quantize.h.
#include "quant/quantize.h"

#include <algorithm>
#include <cmath>

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

/// Of what is unfinished; digests are of files beside it.
constexpr const char* kStateFolder = "unfinished";
constexpr uint64_t kMaxStateBytes = uint64_t{256} << 20;
constexpr int64_t kOthers = -1;  // the tensors of no layer

/// When the files of a checkpoint were written last.
int64_t written_at(const fs::path& from) {
  int64_t latest = 0;
  const auto look = [&](const fs::path& file) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error);
    if (!error) latest = std::max<int64_t>(latest, time.time_since_epoch().count());
  };
  if (fs::is_directory(from))
    for (const auto& entry : fs::directory_iterator(from)) look(entry.path());
  else
    look(from);
  return latest;
}

fs::path state_path(const fs::path& to) {
  return to / kStateFolder / "state.json";
}

/// A piece of a parameter as a checkpoint stores it, all of it in f32.
Tensor read_matrix(const StoredWeight& weight, Device& device) {
  Tensor values = Tensor::empty(device, {weight.rows(), weight.columns()});
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t r = 0; r < weight.rows(); ++r)
    weight.read(r, 1, values.f32() + r * weight.columns());
  return values;
}

void check_finite(const Tensor& values, const std::string& where) {
  for (int64_t i = 0; i < values.count(); ++i)
    UM_CHECK(std::isfinite(values.f32()[i]), "{}: element {} is {}; the weights are damaged", where,
             i, values.f32()[i]);
}

Json formats_json(const WeightTypes& formats) {
  Json others = Json::object();
  for (const auto& [name, format] : formats.others) others[name] = format_name(format);
  return {{"matrices", format_name(formats.matrices)}, {"others", others}};
}

QuantizedMatrix matrix_from(const Json& json) {
  return {json.at("name"),
          json.at("layer"),
          round_method(json.at("method").get<std::string>()),
          json.at("bits"),
          json.at("values"),
          json.at("inputs"),
          {json.at("weight_error"),
           json.at("output_error").is_null() ? -1 : json.at("output_error").get<double>()},
          json.at("note"),
          json.at("loss").is_null() ? std::nullopt : std::optional(json.at("loss").get<double>())};
}

}  // namespace

nlohmann::ordered_json to_json(const QuantizedMatrix& m) {
  const nlohmann::ordered_json unknown;
  return {
      {"name", m.name},
      {"layer", m.layer},
      {"method", round_method_name(m.method)},
      {"bits", m.bits},
      {"values", m.values},
      {"inputs", m.inputs},
      {"output_error", m.errors.outputs < 0 ? unknown : nlohmann::ordered_json(m.errors.outputs)},
      {"weight_error", m.errors.weights},
      {"note", m.note},
      {"loss", m.loss ? nlohmann::ordered_json(*m.loss) : unknown}};
}

Quantization::Quantization(const fs::path& from, const fs::path& to, const QuantizeOptions& options,
                           Device& device)
    : from_(from),
      to_(to),
      options_(options),
      device_(device),
      conversion_(from, to, {}, options.formats),
      layers_(conversion_.config().layers + conversion_.config().mtp_layers) {
  make_directories(to_);
  lock_.emplace(to_, "another program is quantising into it");
  check_target(to);
  read_state();
}

void Quantization::check_target(const fs::path& to) {
  if (path_exists(state_path(to)) || !path_exists(to)) return;
  UM_CHECK(!path_exists(to / "config.json"),
           "{}: there is a model here; name a new one or remove it", to.string());
  const bool mine = std::ranges::all_of(fs::directory_iterator(to), [](const auto& entry) {
    return entry.path().filename() == kStateFolder;  // ended before its first state was written
  });
  UM_CHECK(mine, "{}: there are files here that are not of a quantisation; name a new directory",
           to.string());
}

Json Quantization::settings() const {
  return {{"from", (fs::absolute(from_) / "").lexically_normal().parent_path().string()},
          {"bytes", conversion_.source().total_bytes()},
          {"written", written_at(from_)},
          {"formats", formats_json(options_.formats)},
          {"method", round_method_name(options_.method)},
          {"min_rows", options_.min_rows},
          {"texts", options_.texts}};
}

void Quantization::read_state() {
  if (!path_exists(state_path(to_))) return;
  const auto refuse = [&](const std::string& what) {
    fail("{}: {}; repeat the command that began it, or remove the directory", to_.string(), what);
  };
  const Json state = Json::parse(read_file(state_path(to_), kMaxStateBytes), nullptr, false);
  try {
    if (state.at("settings") != settings())
      refuse("an unfinished quantisation of another model, or with other settings, is here");
    for (const Json& layer : state.at("layers")) {
      Layer& finished = finished_.emplace_back();
      finished.crc = layer.at("crc");
      for (const Json& matrix : layer.at("matrices"))
        finished.matrices.push_back(matrix_from(matrix));
    }
  } catch (const Json::exception&) {
    refuse(fmt::format("{} is damaged", state_path(to_).string()));
  } catch (const UsageError&) {  // a method that is none
    refuse(fmt::format("{} is damaged", state_path(to_).string()));
  }
  if (finished_layers() > layers_) refuse(fmt::format("{} is damaged", state_path(to_).string()));
  for (int64_t layer = 0; layer < finished_layers(); ++layer)
    if (!path_exists(to_ / shard(layer)) ||
        crc_of_shard(layer) != finished_[static_cast<size_t>(layer)].crc)
      refuse(fmt::format("{} of the unfinished quantisation is missing or damaged", shard(layer)));
}

/// Throws Error for a tensor of the group that stays as it is, and has a value that is no number.
void Quantization::check_kept(int64_t group) const {
  for (const TensorSpec& tensor : tensors_of(group))
    if (conversion_.packed_matrix(tensor.name) == nullptr)
      check_finite(read_matrix(conversion_.source().at(tensor.name), device_),
                   conversion_.source().where() + ": " + tensor.name);
}

void Quantization::write_state() const {
  Json layers = Json::array();
  for (const Layer& layer : finished_) {
    Json matrices = Json::array();
    for (const QuantizedMatrix& matrix : layer.matrices) matrices.push_back(Json(to_json(matrix)));
    layers.push_back({{"crc", layer.crc}, {"matrices", std::move(matrices)}});
  }
  make_directories(to_ / kStateFolder);
  write_file_atomic(state_path(to_),
                    to_text(Json{{"settings", settings()}, {"layers", layers}}) + "\n");
}

/// The layer that a tensor is written with; kOthers for those of none.
int64_t Quantization::group_of(const std::string& tensor) const {
  const int64_t layer = layer_of(tensor);
  return layer < layers_ ? layer : kOthers;
}

std::string Quantization::shard(int64_t group) const {
  const auto count = static_cast<size_t>(layers_) + 1;
  return shard_name(group == kOthers ? count - 1 : static_cast<size_t>(group), count);
}

std::vector<TensorSpec> Quantization::tensors_of(int64_t group) const {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : conversion_.tensors())
    if (group_of(tensor.name) == group) tensors.push_back(tensor);
  return tensors;
}

int64_t Quantization::memory_bytes(int64_t tokens) const {
  const ModelConfig& config = conversion_.config();
  const int64_t layer = LayerWalk::largest_layer_bytes(config);
  if (tokens == 0) return layer;
  // What goes from layer to layer, twice while a layer runs, and a layer's inputs.
  const int64_t channels = (4 * config.streams + 2) * config.hidden + input_channels(config);
  const int64_t widest = std::max(
      {2 * config.hidden, config.attention.heads * config.attention.v_dim, config.dense_width});
  return layer + 4 * tokens * channels + 2 * 4 * widest * widest;
}

uint32_t Quantization::crc_of_shard(int64_t group) const {
  return crc32_of(MappedFile(to_ / shard(group)).bytes());
}

uint32_t Quantization::write_shard(int64_t group, const Codes& codes) const {
  PackWriter packs;
  const auto write = [&](const TensorSpec& part, const TensorSink& sink) {
    const std::string* name = conversion_.packed_matrix(part.name);
    if (name == nullptr) return conversion_.write_plain(part, sink);
    StoredWeight weight = conversion_.source().at(*name);
    const RowFormat format = options_.formats.of(*name);
    weight.codes = {format, [&rows = codes.at(*name)](int64_t row, RowCodes& out) {
                      out = rows[static_cast<size_t>(row)];
                    }};
    packs.write(*name, weight, format, part, sink);
  };
  write_safetensors(to_ / shard(group), tensors_of(group), write);
  return crc_of_shard(group);
}

QuantizedMatrix Quantization::quantize_matrix(const std::string& name, const MatrixInputs* inputs,
                                              MatrixRounder& rounder,
                                              std::vector<RowCodes>& rows) const {
  const StoredWeight& stored = conversion_.source().at(name);
  const std::string where = conversion_.source().where() + ": " + name;
  QuantizedMatrix matrix;
  matrix.name = name;
  matrix.layer = layer_of(name);
  matrix.values = stored.rows() * stored.columns();
  const RowFormat format = options_.formats.of(name);
  matrix.bits = 8.0 * static_cast<double>(format.row_bytes(stored.columns())) /
                static_cast<double>(stored.columns());
  matrix.inputs = inputs == nullptr ? 0 : inputs->rows();
  const Tensor weights = read_matrix(stored, device_);
  check_finite(weights, where);
  const bool few = needs_inputs(options_.method) && matrix.inputs < options_.min_rows;
  RoundedMatrix rounded = rounder.round(weights, format, few ? nullptr : inputs);
  check_scales(rounded.rows, format, where);
  UM_CHECK(std::isfinite(rounded.errors.weights) && std::isfinite(rounded.errors.outputs),
           "{}: it is multiplied with NaN or Inf when the calibration text runs through; the "
           "weights are damaged",
           where);
  matrix.method = rounded.method;
  matrix.errors = rounded.errors;
  if (const auto loss = options_.losses.find(name); loss != options_.losses.end())
    matrix.loss = loss->second;
  if (few)
    matrix.note = fmt::format("{} inputs of {}", matrix.inputs, options_.min_rows);
  else if (matrix.method != options_.method)
    matrix.note = "its inputs' Gram matrix has no factor, or is not worth one";
  rows = std::move(rounded.rows);
  return matrix;
}

/// Rounds and writes the matrices of a group; `params` are those of a layer, in whose order they
/// are rounded, `inputs` what they were multiplied with (null: unknown).
Quantization::Layer Quantization::quantize_group(int64_t group,
                                                 const std::vector<const Param*>& params,
                                                 const InputRecorder* inputs) const {
  Layer result;
  Codes codes;
  MatrixRounder rounder(options_.method);
  const auto quantize = [&](const std::string& name, const MatrixInputs* seen) {
    result.matrices.push_back(quantize_matrix(name, seen, rounder, codes[name]));
  };
  for (const Param* param : params)
    for (const Piece& piece : param->pieces)
      if (conversion_.packs(piece.name))
        quantize(piece.name, inputs == nullptr ? nullptr : inputs->find(*param, piece));
  // What the files have beside the model's parameters.
  for (const TensorSpec& tensor : tensors_of(group))
    if (const std::string* name = conversion_.packed_matrix(tensor.name);
        name != nullptr && !codes.contains(*name))
      quantize(*name, nullptr);
  result.crc = write_shard(group, codes);
  return result;
}

Quantization::Layer Quantization::quantize_layer(
    int64_t layer, LayerWalk& walk,
    const std::function<void(const QuantizeStep&)>& progress) const {
  check_kept(layer);
  const std::vector<const Param*> params = walk.matrices(layer);
  std::optional<InputRecorder> inputs;
  if (walk.batches() > 0) {
    progress({layer, layers_, "inputs"});
    walk.load();
    inputs.emplace(params);
    const Observing watched(device_, *inputs);
    walk.look();
    walk.unload();
  }
  progress({layer, layers_, "rounding"});
  return quantize_group(layer, params, inputs ? &*inputs : nullptr);
}

void Quantization::quantize_layers(std::vector<Batch> batches,
                                   const std::function<void(const QuantizeStep&)>& progress) {
  const int64_t first = finished_layers();
  if (first == layers_) return;
  LayerWalk walk(conversion_.config(), conversion_.source(), device_, std::move(batches));
  for (int64_t layer = 0; layer < layers_; ++layer) {
    if (layer >= first) {
      finished_.push_back(quantize_layer(layer, walk, progress));
      write_state();
    }
    // The next layer is calibrated with what the rounded ones give it.
    if (walk.batches() > 0) {
      progress({layer, layers_, layer < first ? "again" : "onwards"});
      const WeightSource rounded = open_weights(to_ / shard(layer));
      walk.load(&rounded);
      walk.run();
    }
    walk.release();
  }
}

std::vector<QuantizedMatrix> Quantization::run(
    std::vector<Batch> batches, const std::function<void(const QuantizeStep&)>& progress) {
  check_kept(kOthers);
  if (finished_.empty()) write_state();  // from here on the directory is known as unfinished
  quantize_layers(std::move(batches), progress);
  progress({layers_, layers_, "writing the rest"});
  std::vector<QuantizedMatrix> all;
  const auto take = [&](const Layer& layer) {
    all.insert(all.end(), layer.matrices.begin(), layer.matrices.end());
  };
  std::ranges::for_each(finished_, take);
  take(quantize_group(kOthers, {}, nullptr));
  std::map<std::string, std::string> shards;
  for (const TensorSpec& tensor : conversion_.tensors())
    shards[tensor.name] = shard(group_of(tensor.name));
  write_shard_index(to_, shards, conversion_.bytes());
  conversion_.write_texts();
  return all;
}

void Quantization::finish() {
  CheckpointDirectory output(to_);
  output.seal();
  output.keep();
  std::error_code error;
  fs::remove_all(to_ / kStateFolder, error);
  UM_CHECK(!error, "{}: cannot remove: {}", (to_ / kStateFolder).string(), error.message());
}

}  // namespace um
