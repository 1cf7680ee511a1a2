// See quantized.h. One form covers all: values (q - zero) · scale, where q are the stored small
// numbers and scale and zero are constant over blocks of the matrix.
#include "models/quantized.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/paths.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxDescriptionBytes = uint64_t{256} << 20;
constexpr int64_t kDefaultBlock = 128;
/// What a quantised module X has beside `X.weight`.
constexpr std::array kSideTensors{"weight_scale",      "weight_scale_inv", "weight_offset",
                                  "weight_zero_point", "weight_shape",     "weight_g_idx",
                                  "weight_packed",     "input_scale",      "input_zero_point",
                                  "input_offset",      "quant_bias",       "deq_scale"};

/// Everything before ".KIND" if the name ends so.
std::optional<std::string> base_of(const std::string& name, std::string_view kind) {
  if (name.size() <= kind.size() + 1 || !name.ends_with(kind)) return {};
  const size_t dot = name.size() - kind.size() - 1;
  if (name[dot] != '.') return {};
  return name.substr(0, dot);
}

/// How many rows and columns of the matrix one scale covers.
struct Blocks {
  int64_t rows = 1, columns = 1;
};

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// One quantised matrix of a checkpoint.
class Module {
 public:
  Module(const CheckpointReader& reader, std::string base, Blocks block, std::string where)
      : reader_(reader), base_(std::move(base)), block_(block), where_(std::move(where)) {}

  StoredWeight weight() {
    const TensorView* packed = find("weight_packed");
    return packed != nullptr ? unpacked(*packed) : scaled(reader_.at(base_ + ".weight"));
  }

  /// The bias that static W8A8 of ModelSlim keeps as `quant_bias` in units of `deq_scale`, with the
  /// share of the input's offset taken off; nothing where it is no more than rounding.
  std::optional<StoredWeight> bias() const;

 private:
  const TensorView* find(const char* kind) const { return reader_.find(base_ + "." + kind); }
  std::string name(const char* kind) const { return quote(base_ + "." + kind); }

  /// A side tensor as numbers.
  StoredWeight numbers(const TensorView& view, const char* kind) const {
    StoredWeight weight = plain_weight(view);
    UM_CHECK(weight.read, "{}: tensor {}: {} cannot be read as numbers", where_, name(kind),
             weight.format);
    return weight;
  }

  /// A scale or zero as a matrix, and the blocks it stands for. Vectors are per row.
  StoredWeight per_block(const TensorView& view, const char* kind, int64_t rows, int64_t columns,
                         Blocks& blocks) const;
  StoredWeight scaled(const TensorView& stored) const;
  StoredWeight unpacked(const TensorView& packed) const;
  std::vector<int32_t> column_groups(int64_t columns, int64_t groups) const;

  const CheckpointReader& reader_;
  std::string base_;
  Blocks block_;  // for scales in two dimensions
  std::string where_;
};

StoredWeight Module::per_block(const TensorView& view, const char* kind, int64_t rows,
                               int64_t columns, Blocks& blocks) const {
  StoredWeight scale = numbers(view, kind);
  const int64_t count = view.elements();
  UM_CHECK(count > 0, "{}: tensor {} is empty", where_, name(kind));
  if (count == 1) {
    blocks = {rows, columns};
    scale.shape = {1, 1};
    return scale;
  }
  if (view.shape.size() == 1) scale.shape = {view.shape[0], 1};
  const int64_t scale_rows = scale.shape[0], scale_columns = scale.columns();
  UM_CHECK(scale.shape.size() == 2, "{}: tensor {}: shape [{}] for a matrix [{}, {}]", where_,
           name(kind), fmt::join(view.shape, ", "), rows, columns);
  if (scale_rows == rows && scale_columns == 1) {
    blocks = {1, columns};
  } else if (scale_rows == rows && columns % scale_columns == 0) {
    blocks = {1, columns / scale_columns};
  } else {
    blocks = block_;
  }
  UM_CHECK(scale_rows == ceil_div(rows, blocks.rows) &&
               scale_columns == ceil_div(columns, blocks.columns),
           "{}: tensor {}: shape [{}] for a matrix [{}, {}] in blocks of {} × {}", where_,
           name(kind), fmt::join(view.shape, ", "), rows, columns, blocks.rows, blocks.columns);
  // A vector is read as a column.
  if (view.shape.size() == 1)
    scale.read = [dtype = view.dtype, data = view.bytes.data()](int64_t row, int64_t n,
                                                                float* out) {
      convert_to_f32(dtype, data + static_cast<size_t>(row) * dtype_size(dtype), out,
                     static_cast<size_t>(n));
    };
  return scale;
}

/// Rows of (q - zero) · scale.
StoredWeight::Read dequantize(const StoredWeight::Read& q, int64_t columns, StoredWeight scale,
                              Blocks scale_blocks, std::optional<StoredWeight> zero,
                              Blocks zero_blocks) {
  return [=](int64_t row, int64_t count, float* out) {
    std::vector<float> scales(static_cast<size_t>(scale.columns()));
    std::vector<float> zeros(zero ? static_cast<size_t>(zero->columns()) : 0);
    q(row, count, out);
    for (int64_t r = row; r < row + count; ++r, out += columns) {
      scale.read(r / scale_blocks.rows, 1, scales.data());
      if (zero) {
        zero->read(r / zero_blocks.rows, 1, zeros.data());
        for (int64_t c = 0; c < columns; ++c)
          out[c] -= zeros[static_cast<size_t>(c / zero_blocks.columns)];
      }
      for (int64_t c = 0; c < columns; ++c)
        out[c] *= scales[static_cast<size_t>(c / scale_blocks.columns)];
    }
  };
}

/// Whether there are no zero points but 0 (ModelSlim writes them for symmetric weights too).
bool is_zero(const std::optional<StoredWeight>& zero) {
  if (!zero) return true;
  std::vector<float> values(static_cast<size_t>(zero->columns()));
  for (int64_t row = 0; row < zero->rows(); ++row) {
    zero->read(row, 1, values.data());
    if (std::any_of(values.begin(), values.end(), [](float z) { return z != 0; })) return false;
  }
  return true;
}

/// Whether kernels take scales of so many columns.
bool is_group(int64_t block, int64_t columns) {
  return block == columns || block == kPanelDepth / 2 || block % kPanelDepth == 0;
}

/// Integers in a byte each, with symmetric scales per row or per group of a row.
StoredWeight::Codes int8_codes(const TensorView& stored, int64_t columns, StoredWeight scale,
                               Blocks blocks) {
  const int64_t group = blocks.columns == columns ? kWholeRow : blocks.columns;
  return {{RowType::panel8, group},
          [=, data = stored.bytes.data()](int64_t row, RowCodes& out) {
            out.codes.resize(static_cast<size_t>(columns));
            const std::byte* from = data + row * columns;
            for (int64_t c = 0; c < columns; ++c)
              out.codes[static_cast<size_t>(c)] = static_cast<uint8_t>(from[c]) ^ 128;
            out.scales.resize(static_cast<size_t>(scale.columns()));
            scale.read(row / blocks.rows, 1, out.scales.data());
          }};
}

StoredWeight Module::scaled(const TensorView& stored) const {
  const bool known =
      stored.dtype == DType::i8 || stored.dtype == DType::f8_e4m3 || stored.dtype == DType::f8_e5m2;
  UM_CHECK(
      known && stored.shape.size() == 2 && stored.elements() > 0,
      "{}: tensor {}: {} of shape [{}] has scales; expected a matrix of I8, F8_E4M3 or F8_E5M2",
      where_, name("weight"), dtype_file_name(stored.dtype), fmt::join(stored.shape, ", "));
  const TensorView *scale_view = find("weight_scale"), *inverse = find("weight_scale_inv");
  UM_CHECK((scale_view == nullptr) != (inverse == nullptr), "{}: tensor {}: two kinds of scales",
           where_, name("weight"));
  const int64_t rows = stored.shape[0], columns = stored.shape[1];
  StoredWeight weight = plain_weight(stored);
  Blocks scale_blocks, zero_blocks;
  // The published name notwithstanding, weight_scale_inv is a factor, too.
  const StoredWeight scale =
      inverse != nullptr ? per_block(*inverse, "weight_scale_inv", rows, columns, scale_blocks)
                         : per_block(*scale_view, "weight_scale", rows, columns, scale_blocks);
  std::optional<StoredWeight> zero;
  for (const char* kind : {"weight_zero_point", "weight_offset"})
    if (const TensorView* view = find(kind))
      zero = per_block(*view, kind, rows, columns, zero_blocks);
  weight.dtype = DType::bf16;
  weight.exact = false;
  weight.plain = {};
  weight.bytes += scale.bytes;
  weight.format = fmt::format("{} with scales per {} × {}", weight.format, scale_blocks.rows,
                              scale_blocks.columns);
  if (stored.dtype == DType::i8 && is_group(scale_blocks.columns, columns) && is_zero(zero))
    weight.codes = int8_codes(stored, columns, scale, scale_blocks);
  weight.read = dequantize(weight.read, columns, scale, scale_blocks, zero, zero_blocks);
  return weight;
}

int32_t word_at(const std::byte* data, int64_t index) {
  int32_t word;
  std::memcpy(&word, data + index * 4, sizeof word);
  return word;
}

/// The group of every column where an activation order was used; empty where they lie in order.
std::vector<int32_t> Module::column_groups(int64_t columns, int64_t groups) const {
  const TensorView* order = find("weight_g_idx");
  if (order == nullptr) return {};
  UM_CHECK(order->dtype == DType::i32 && order->elements() == columns,
           "{}: tensor {}: expected {} values of I32", where_, name("weight_g_idx"), columns);
  std::vector<int32_t> group(static_cast<size_t>(columns));
  std::memcpy(group.data(), order->bytes.data(), order->bytes.size());
  if (std::all_of(group.begin(), group.end(), [](int32_t g) { return g == -1; })) return {};
  for (const int32_t g : group)
    UM_CHECK(g >= 0 && g < groups, "{}: tensor {}: group {} of {}", where_, name("weight_g_idx"), g,
             groups);
  return group;
}

/// Values of 4 or 8 bits, lowest first, in 32-bit words along the columns, shifted to be unsigned;
/// zero points likewise, along the rows.
StoredWeight Module::unpacked(const TensorView& packed) const {
  const TensorView *shape = find("weight_shape"), *scale_view = find("weight_scale");
  UM_CHECK(shape != nullptr && scale_view != nullptr && shape->elements() == 2,
           "{}: tensor {}: expected weight_shape of 2 values and weight_scale beside it", where_,
           name("weight_packed"));
  float extents[2] = {0, 0};
  std::array<int64_t, 2> size{};
  numbers(*shape, "weight_shape").read(0, 1, extents);
  for (size_t i = 0; i < 2; ++i) {
    UM_CHECK(extents[i] >= 1 && extents[i] <= float{1 << 24}, "{}: tensor {}: extent {}", where_,
             name("weight_shape"), extents[i]);
    size[i] = static_cast<int64_t>(extents[i]);
  }
  const auto [rows, columns] = std::pair(size[0], size[1]);
  const bool matrix = packed.shape.size() == 2 && packed.shape[0] == rows;
  const int bits = matrix && packed.shape[1] == ceil_div(columns, 4) ? 8 : 4;
  UM_CHECK(
      packed.dtype == DType::i32 && matrix && packed.shape[1] == ceil_div(columns * bits, 32),
      "{}: tensor {}: {} of shape [{}], expected I32 words with [{}, {}] values of 4 or 8 bits",
      where_, name("weight_packed"), dtype_file_name(packed.dtype), fmt::join(packed.shape, ", "),
      rows, columns);
  Blocks blocks;
  const StoredWeight scale = per_block(*scale_view, "weight_scale", rows, columns, blocks);
  const int64_t per_word = 32 / bits, words = packed.shape[1], groups = scale.columns();
  const std::byte* zeros = nullptr;
  if (const TensorView* zero = find("weight_zero_point")) {
    UM_CHECK(zero->dtype == DType::i32 &&
                 zero->shape == (std::vector<int64_t>{ceil_div(rows, per_word), groups}),
             "{}: tensor {}: shape [{}], expected packed [{}, {}]", where_,
             name("weight_zero_point"), fmt::join(zero->shape, ", "), ceil_div(rows, per_word),
             groups);
    zeros = zero->bytes.data();
  }
  StoredWeight weight;
  weight.shape = {rows, columns};
  weight.dtype = DType::bf16;
  weight.exact = false;
  weight.bytes = packed.bytes.size() + scale.bytes;
  weight.format = fmt::format("packed int{} in groups of {}", bits, blocks.columns);
  weight.read = [=, columns = columns, data = packed.bytes.data(),
                 order = column_groups(columns, groups)](int64_t row, int64_t count, float* out) {
    const uint32_t mask = bits == 8 ? 255 : 15;
    const auto value = [&](const std::byte* from, int64_t word, int64_t place) {
      return static_cast<int>(static_cast<uint32_t>(word_at(from, word)) >> (place * bits) & mask);
    };
    std::vector<float> scales(static_cast<size_t>(groups));
    for (int64_t r = row; r < row + count; ++r) {
      scale.read(r / blocks.rows, 1, scales.data());
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t group = order.empty() ? c / blocks.columns : order[static_cast<size_t>(c)];
        const int zero = zeros == nullptr
                             ? 1 << (bits - 1)
                             : value(zeros, r / per_word * groups + group, r % per_word);
        const int q = value(data, r * words + c / per_word, c % per_word);
        *out++ = static_cast<float>(q - zero) * scales[static_cast<size_t>(group)];
      }
    }
  };
  return weight;
}

std::optional<StoredWeight> Module::bias() const {
  const TensorView *quantised = find("quant_bias"), *units = find("deq_scale"),
                   *offset = find("input_offset"), *stored = reader_.find(base_ + ".weight");
  if (quantised == nullptr || units == nullptr || reader_.find(base_ + ".bias") != nullptr)
    return {};
  UM_CHECK(stored != nullptr && stored->dtype == DType::i8 && stored->shape.size() == 2,
           "{}: tensor {}: expected a matrix of I8 beside it", where_, name("quant_bias"));
  const int64_t rows = stored->shape[0], columns = stored->shape[1];
  const bool wide = units->dtype == DType::i64;  // the bits of an f32
  UM_CHECK(quantised->dtype == DType::i32 && quantised->elements() == rows &&
               units->elements() == rows && (wide || units->dtype == DType::f32) &&
               (offset == nullptr || offset->elements() == 1),
           "{}: tensors {} and {}: expected {} values of I32, and of F32 or I64", where_,
           name("quant_bias"), name("deq_scale"), rows);
  float shift = 0;
  if (offset != nullptr) convert_to_f32(offset->dtype, offset->bytes.data(), &shift, 1);
  auto bias = std::make_shared<std::vector<float>>(static_cast<size_t>(rows));
  bool real = false;
  for (int64_t r = 0; r < rows; ++r) {
    float unit;
    std::memcpy(&unit, units->bytes.data() + r * (wide ? 8 : 4), sizeof unit);
    int64_t sum = 0;
    for (int64_t c = 0; c < columns; ++c)
      sum += static_cast<int8_t>(stored->bytes[static_cast<size_t>(r * columns + c)]);
    const double in_units =
        word_at(quantised->bytes.data(), r) + static_cast<double>(shift) * static_cast<double>(sum);
    (*bias)[static_cast<size_t>(r)] = static_cast<float>(in_units * unit);
    real = real || std::abs(in_units) > 1;
  }
  if (!real) return {};
  StoredWeight weight;
  weight.shape = {rows};
  weight.exact = false;
  weight.format = "I32 in units of deq_scale";
  weight.bytes = quantised->bytes.size();
  weight.read = [bias, rows](int64_t, int64_t count, float* out) {
    std::copy_n(bias->begin(), count * rows, out);
  };
  return weight;
}

/// What the checkpoint's config.json says of its matrices.
struct Method {
  bool quantised = false;
  Blocks block{kDefaultBlock, kDefaultBlock};  // of scales in two dimensions
};

/// Throws Error for a method that we do not know.
Method read_method(const fs::path& directory) {
  Method result;
  if (!path_exists(directory / "config.json")) return result;
  const std::string where = (directory / "config.json").string();
  const Json json = read_json_file(where, kMaxConfigBytes);
  const auto found = json.is_object() ? json.find("quantization_config") : json.end();
  if (!json.is_object() || found == json.end() || found->is_null()) return result;
  result.quantised = true;
  const JsonObject config(*found, where + ": quantization_config");
  const std::string method = config.string_or("quant_method", "");
  UM_CHECK(method == "fp8" || method == "compressed-tensors" || method == "ascend",
           "{}: quant_method: expected fp8, compressed-tensors or ascend, found {}", config.where(),
           quote(method));
  const Json* size = config.find("weight_block_size");
  if (size == nullptr) return result;
  const auto extent = [](const Json& value) {
    return value.is_number_unsigned() && value.get<uint64_t>() >= 1 &&
           value.get<uint64_t>() <= 1 << 20;
  };
  UM_CHECK(size->is_array() && size->size() == 2 && extent((*size)[0]) && extent((*size)[1]),
           "{}: weight_block_size: expected two positive numbers, found {}", config.where(),
           describe(*size));
  result.block = {(*size)[0].get<int64_t>(), (*size)[1].get<int64_t>()};
  return result;
}

/// Integers without their scale are no weights. (8-bit floats may be meant as they are.)
void check_not_quantised(const std::string& name, const TensorView& view, const Method& method,
                         const std::string& where) {
  const bool floats = view.dtype == DType::f8_e4m3 || view.dtype == DType::f8_e5m2;
  UM_CHECK(!base_of(name, "weight") || view.shape.size() != 2 ||
               !(view.dtype == DType::i8 || (floats && method.quantised)),
           "{}: tensor {}: {} without a scale; expected {} beside it", where, quote(name),
           dtype_file_name(view.dtype), quote(name + "_scale"));
}

/// ModelSlim names the scheme of every tensor.
void check_description(const fs::path& directory) {
  const fs::path path = directory / "quant_model_description.json";
  if (!path_exists(path)) return;
  const Json json = read_json_file(path, kMaxDescriptionBytes);
  UM_CHECK(json.is_object(), "{}: expected an object", path.string());
  static const std::set<std::string> kKnown{"FLOAT", "W8A8", "W8A8_DYNAMIC"};
  for (const auto& [tensor, scheme] : json.items()) {
    if (!scheme.is_string() || !tensor.ends_with(".weight")) continue;  // versions and options
    UM_CHECK(kKnown.contains(scheme.get_ref<const std::string&>()),
             "{}: tensor {}: expected FLOAT, W8A8 or W8A8_DYNAMIC, found {}", path.string(),
             quote(tensor), describe(scheme));
  }
}

}  // namespace

void add_safetensors_weights(const CheckpointReader& reader, const fs::path& path,
                             WeightSource& source) {
  std::error_code ignored;
  const fs::path directory = fs::is_directory(path, ignored) ? path : path.parent_path();
  const Method method = read_method(directory);
  check_description(directory);
  std::set<std::string> bases;
  for (const auto& [name, view] : reader.tensors())
    for (const char* kind : {"weight_scale", "weight_scale_inv", "weight_packed"})
      if (auto base = base_of(name, kind)) bases.insert(std::move(*base));
  std::set<std::string> done;
  for (const std::string& base : bases) {
    Module module(reader, base, method.block, path.string());
    source.add(base + ".weight", module.weight());
    if (auto bias = module.bias()) source.add(base + ".bias", std::move(*bias));
    done.insert(base + ".weight");
    for (const char* kind : kSideTensors) done.insert(base + "." + kind);
  }
  for (const auto& [name, view] : reader.tensors()) {
    if (done.contains(name)) continue;
    check_not_quantised(name, *view, method, path.string());
    source.add(name, plain_weight(*view));
  }
}

}  // namespace um
