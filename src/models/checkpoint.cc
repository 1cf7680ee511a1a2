// See checkpoint.h.
#include "models/checkpoint.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "core/json.h"
#include "kernels/registry.h"
#include "models/config.h"
#include "models/count.h"
#include "models/expert_files.h"
#include "models/mapped.h"
#include "models/model_texts.h"
#include "models/model_weights.h"
#include "ops/devices.h"
#include "text/tokenizer_hash.h"

namespace um {
namespace {

constexpr size_t kChunk = size_t{1} << 16;  // elements converted at a time

void load_piece(const Param& param, const Piece& piece, const StoredWeight& stored,
                const std::string& where) {
  std::vector<int64_t> expected;
  expected.reserve(static_cast<size_t>(piece.shape.rank()));
  for (int i = 0; i < piece.shape.rank(); ++i) expected.push_back(piece.shape[i]);
  check_weight(stored, piece.name, expected, where);
  if (!param.weight().device().dry()) read_weight(stored, param.weight(), piece.row);
}

void check_overflow(const Param& param, const WeightSource& source) {
  UM_CHECK(!param.codes || !param.codes.overflown(),
           "{}: {}: values too large for the scales of {}; load it as bf16 or f32", source.where(),
           param.name, format_name(param.codes.format));
}

/// Whether two matrices have the same values, however they are stored.
bool same_values(const StoredWeight& one, const StoredWeight& other) {
  if (one.shape != other.shape || !one.read || !other.read) return false;
  const int64_t rows = one.rows(), columns = std::max<int64_t>(1, one.columns());
  const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(kChunk) / columns);
  bool same = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : same)
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    std::vector<float> a(static_cast<size_t>(count * columns)), b(a.size());
    one.read(row, count, a.data());
    other.read(row, count, b.data());
    same = same && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
  return same;
}

/// Passes values of type `from` on as type `to`.
void write_values(DType from, std::span<const std::byte> values, DType to, const TensorSink& sink) {
  if (from == to) return sink(values);
  const size_t count = values.size() / dtype_size(from);
  std::vector<float> wide(std::min(count, kChunk));
  std::vector<std::byte> converted(wide.size() * dtype_size(to));
  for (size_t begin = 0; begin < count; begin += kChunk) {
    const size_t n = std::min(kChunk, count - begin);
    convert_to_f32(from, values.data() + begin * dtype_size(from), wide.data(), n);
    convert_from_f32(to, wide.data(), converted.data(), n);
    sink(std::span(converted).first(n * dtype_size(to)));
  }
}

}  // namespace

void load_param(const Param& param, const WeightSource& source) {
  for (const Piece& piece : param.pieces)
    load_piece(param, piece, source.at(piece.name), source.where());
  check_overflow(param, source);
}

void load_weights(Model& model, const WeightSource& source, std::vector<std::string>* warnings,
                  const LoadProgress& progress) {
  std::set<std::string_view> used;
  uint64_t done = 0, all = 0;
  for (const auto& param : model.params().all())
    for (const Piece& piece : param->pieces) {
      all += source.at(piece.name).bytes;
      used.insert(piece.name);
    }
  for (const auto& param : model.params().all())
    for (const Piece& piece : param->pieces) {
      const StoredWeight& stored = source.at(piece.name);
      load_piece(*param, piece, stored, source.where());
      if (progress) progress(done += stored.bytes, all);
    }
  for (const auto& param : model.params().all()) check_overflow(*param, source);
  connect_experts(model, source, used);
  if (warnings == nullptr) return;
  warnings->insert(warnings->end(), source.warnings().begin(), source.warnings().end());
  for (const auto& [name, stored] : source.tensors()) {
    if (used.contains(name)) continue;
    const auto copied = copied_tensor(name, model.config());
    if (!is_redundant(name, model.config()))
      warnings->push_back(
          fmt::format("{}: tensor {} is not part of the model", source.where(), name));
    else if (copied && !same_values(stored, source.at(*copied)))
      warnings->push_back(fmt::format("{}: tensor {} is no copy of {}, which is used in its place",
                                      source.where(), name, *copied));
  }
}

namespace {

/// The narrowest format that holds a matrix as it is stored: of all its tensors.
RowFormat stored_format(const Param& matrix, const WeightSource& source) {
  std::optional<RowFormat> codes;
  bool same = true, bf16 = true;
  for (const Piece& piece : matrix.pieces) {
    const StoredWeight* stored = source.find(piece.name);
    if (stored == nullptr) continue;
    if (!codes) codes = stored->codes.format;
    same = same && stored->codes.format == *codes;
    bf16 = bf16 && stored->dtype == DType::bf16;
  }
  if (codes && same && codes->has_scales()) return *codes;
  return bf16 ? kBf16Rows : kF32Rows;
}

/// Formats with how many values have them, the most common first.
class FormatCounts {
 public:
  void add(const RowFormat& format, int64_t values) {
    auto at = std::find_if(counts_.begin(), counts_.end(),
                           [&](const auto& count) { return count.first == format; });
    if (at == counts_.end()) at = counts_.insert(at, {format, 0});
    at->second += values;
    std::stable_sort(counts_.begin(), counts_.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
  }
  const std::vector<std::pair<RowFormat, int64_t>>& list() const { return counts_; }

 private:
  std::vector<std::pair<RowFormat, int64_t>> counts_;
};

}  // namespace

WeightTypes stored_weights(const ModelConfig& config, const WeightSource& source) {
  const auto model = make_model(config, dry_device(), kBf16Rows);
  std::map<std::string, RowFormat, std::less<>> formats;
  FormatCounts counts;
  bool integers = false, wide = false;
  for (const auto& param : model->params().all()) {
    if (param->value.dtype() != DType::bf16) continue;
    const RowFormat format = formats[param->name] = stored_format(*param, source);
    counts.add(format, param->shape.count());
    integers = integers || format.has_scales();
    wide = wide || format == kF32Rows;
  }
  // Without integers one type holds all: f32 if one matrix needs it.
  if (!integers) return wide ? kF32Rows : kBf16Rows;
  WeightTypes types(counts.list().front().first);
  std::erase_if(formats, [&](const auto& entry) { return entry.second == types.matrices; });
  types.others = std::move(formats);
  return types;
}

std::unique_ptr<Model> load_model(const std::filesystem::path& path, Device& device,
                                  std::vector<std::string>* warnings,
                                  std::optional<WeightTypes> weights, int64_t expert_bytes,
                                  const LoadProgress& progress) {
  if (is_mapped(path)) {
    UM_CHECK(expert_bytes <= 0, "{}: --expert-memory: a mapped model's experts are in its file",
             path.string());
    return map_model(path, device, weights, warnings);
  }
  ModelConfig config = read_config(path);
  UM_CHECK(
      has_weights(path),
      "{}: no weights (model.safetensors or model.safetensors.index.json); `ultramoe init` makes "
      "random ones, `ultramoe train` trains them",
      path.string());
  const WeightSource source = open_model_weights(path, config, warnings);
  if (!weights) weights = stored_weights(config, source);
  const std::string what = "loading " + path.string();
  auto experts = plan_experts(config, device, *weights, expert_bytes, what);
  if (experts == nullptr) check_fits_memory(config, *weights, 1, what);
  auto model = make_model(config, device, *weights, std::move(experts));
  load_weights(*model, source, warnings, progress);
  return model;
}

std::vector<TensorSpec> checkpoint_specs(const ParamStore& params, DType dtype,
                                         const std::string& prefix,
                                         const std::function<bool(const Param&)>& wanted) {
  std::vector<TensorSpec> specs;
  for (const auto& param : params.all()) {
    if (wanted && !wanted(*param)) continue;
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
    const Tensor& tensor = pick(*place.param);
    const auto count = static_cast<size_t>(place.piece->shape.count());
    const int64_t begin = place.piece->begin(tensor);
    if (tensor.dtype() == DType::bf16) {
      const uint16_t* values = tensor.data<uint16_t>() + begin;
      return write_values(DType::bf16, std::as_bytes(std::span(values, count)), spec.dtype, sink);
    }
    const float* values = tensor.f32() + begin;
    write_values(DType::f32, std::as_bytes(std::span(values, count)), spec.dtype, sink);
  };
}

void save_model(const Model& model, const std::filesystem::path& directory,
                uint64_t max_shard_bytes) {
  make_directories(directory);
  Json config = config_to_json(model.config());
  if (has_tokenizer(directory)) add_token_ids(config, Tokenizer::load(directory));
  write_file_atomic(directory / "config.json", config.dump(2) + "\n");
  write_generation_config(directory, config);
  write_checkpoint(
      directory, checkpoint_specs(model.params(), model.config().dtype),
      checkpoint_source(model.params(),
                        [](const Param& param) -> const Tensor& { return param.value; }),
      max_shard_bytes);
}

int64_t weight_bytes(const ModelConfig& config, const WeightTypes& weights) {
  return make_model(config, dry_device(), weights)->params().bytes();
}

std::string describe_weights(const Model& model) {
  FormatCounts counts;
  int64_t all = 0;
  bool integers = false;
  for (const auto& param : model.params().all()) {
    if (param->shape.rank() == 1) continue;
    const RowFormat format = param->weight().format;
    counts.add(format, param->shape.count());
    all += param->shape.count();
    integers = integers || format.has_scales();
  }
  if (!integers) return {};
  std::vector<std::string> parts;
  for (const auto& [format, count] : counts.list())
    parts.push_back(fmt::format("{} ({:.1f}%)", format_name(format),
                                100.0 * static_cast<double>(count) / static_cast<double>(all)));
  return fmt::format("weights in {}; products of integers with {}", fmt::join(parts, ", "),
                     integer_products(*model.device().kernels()));
}

int64_t memory_bytes() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(info.totalram) * static_cast<int64_t>(info.mem_unit);
}

void check_fits_memory(const ModelConfig& config, const WeightTypes& weights, int64_t copies,
                       const std::string& what) {
  const auto available = static_cast<double>(memory_bytes());
  const double needed =
      static_cast<double>(weight_bytes(config, weights)) * static_cast<double>(copies);
  const auto params = static_cast<double>(count_parameters(config).total_with_mtp());
  UM_CHECK(needed <= available,
           "{}: {:.2f} billion parameters in {} need {:.1f} GB{}, this machine has {:.1f} GB", what,
           params / 1e9, format_name(weights.matrices), needed / 1e9,
           copies > 1 ? fmt::format(" ({} copies of them)", copies) : "", available / 1e9);
}

}  // namespace um
