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
#include "kernels/registry.h"
#include "models/quantization_config.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// Of scales in two dimensions where nothing is said.
constexpr ScaleBlocks kUsualBlocks{128, 128};
/// What a quantised module X has beside `X.weight`.
constexpr std::array kSideTensors{"weight_scale",      "weight_scale_inv", "weight_offset",
                                  "weight_zero_point", "weight_shape",     "weight_g_idx",
                                  "weight_packed",     "input_scale",      "input_zero_point",
                                  "input_offset",      "quant_bias",       "deq_scale"};

/// What has the values of a matrix X, by itself or with side tensors; GPTQ and AWQ have the last.
constexpr std::array kStorageForms{"weight", "weight_packed", "qweight"};

/// Everything before ".KIND" if the name ends so.
std::optional<std::string> base_of(const std::string& name, std::string_view kind) {
  if (name.size() <= kind.size() + 1 || !name.ends_with(kind)) return {};
  const size_t dot = name.size() - kind.size() - 1;
  if (name[dot] != '.') return {};
  return name.substr(0, dot);
}

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Throws Error for a matrix that is stored in more than one form: nothing says which is meant.
void check_stored_once(const CheckpointReader& reader, const std::string& base,
                       const std::string& where) {
  std::vector<std::string> found;
  for (const char* form : kStorageForms)
    if (reader.find(base + "." + form) != nullptr) found.push_back(quote(base + "." + form));
  UM_CHECK(found.size() < 2,
           "{}: tensors {}: expected one matrix {}, found it stored {} times; remove the form that "
           "is not meant, or fetch the checkpoint again",
           where, fmt::join(found, " and "), quote(base), found.size());
}

/// One quantised matrix of a checkpoint.
class Module {
 public:
  /// `scheme` is what is said of it, null where nothing is.
  Module(const CheckpointReader& reader, std::string base, const QuantizationConfig& config,
         std::string where)
      : reader_(reader),
        base_(std::move(base)),
        said_(config.scheme(base_) != nullptr ? *config.scheme(base_) : WeightScheme{}),
        config_(config),
        where_(std::move(where)) {}

  StoredWeight weight() {
    check_alone();
    const TensorView* packed = find("weight_packed");
    const char* stored = packed != nullptr ? "weight_packed" : "weight";
    agree(said_.quantised, stored, "quantised", "not quantised");
    agree(said_.packed.value_or(packed != nullptr) == (packed != nullptr), stored,
          packed != nullptr ? "packed words" : "unpacked values",
          packed != nullptr ? "unpacked values" : "packed words");
    return packed != nullptr ? unpacked(*packed) : scaled(reader_.at(base_ + ".weight"));
  }

  /// The bias that static W8A8 of ModelSlim keeps as `quant_bias` in units of `deq_scale`, with the
  /// share of the input's offset taken off; nothing where it is no more than rounding.
  std::optional<StoredWeight> bias() const;

 private:
  /// A scale or zero as a matrix, and the blocks of the weight that its elements stand for.
  struct PerBlock {
    StoredWeight values;
    ScaleBlocks blocks;
  };

  const TensorView* find(const char* kind) const { return reader_.find(base_ + "." + kind); }
  std::string name(const char* kind) const { return quote(base_ + "." + kind); }
  /// Throws Error unless what is said of the matrix is what the file has.
  void agree(bool same, const char* kind, std::string_view found, std::string_view said) const {
    UM_CHECK(
        same,
        "{}: tensor {}: {} in the file, but {} by {}; correct that, or fetch the checkpoint again",
        where_, name(kind), found, said, said_.where);
  }

  /// Throws Error where two tensors say the same thing, since only one of them could be read.
  void check_alone() const {
    check_stored_once(reader_, base_, where_);
    for (const auto& [one, other] : {std::pair("weight_scale", "weight_scale_inv"),
                                     std::pair("weight_zero_point", "weight_offset")})
      UM_CHECK(
          find(one) == nullptr || find(other) == nullptr,
          "{}: tensors {} and {}: expected one of the two, found both; remove the one that the "
          "weights were not made with, or fetch the checkpoint again",
          where_, name(one), name(other));
  }
  /// A side tensor as numbers.
  StoredWeight numbers(const TensorView& view, const char* kind) const {
    StoredWeight weight = plain_weight(view);
    UM_CHECK(weight.read, "{}: tensor {}: {} cannot be read as numbers", where_, name(kind),
             weight.format);
    return weight;
  }

  ScaleBlocks blocks_of(const std::vector<int64_t>& scale, int64_t rows, int64_t columns) const;
  PerBlock per_block(const TensorView& view, const char* kind, int64_t rows, int64_t columns) const;
  PerBlock scales(int64_t rows, int64_t columns) const;
  std::optional<PerBlock> zeros(int64_t rows, int64_t columns, int bits) const;
  void add_values(StoredWeight& weight, StoredWeight::Read q, int bits, const PerBlock& scale,
                  const std::optional<PerBlock>& zero) const;
  StoredWeight scaled(const TensorView& stored) const;
  StoredWeight unpacked(const TensorView& packed) const;
  std::array<int64_t, 2> packed_shape() const;
  std::array<int64_t, 2> said_shape() const;
  int packed_bits(const TensorView& packed, int64_t rows, int64_t columns) const;
  std::vector<int32_t> column_groups(int64_t columns, const PerBlock& scale) const;
  void check_range(const TensorView& stored) const;

  const CheckpointReader& reader_;
  std::string base_;
  WeightScheme said_;
  const QuantizationConfig& config_;
  std::string where_;
};

/// The blocks of a matrix that a scale of this shape (in two dimensions) stands for.
ScaleBlocks Module::blocks_of(const std::vector<int64_t>& scale, int64_t rows,
                              int64_t columns) const {
  if (said_.blocks)
    return {said_.blocks->rows != 0 ? said_.blocks->rows : rows,
            said_.blocks->columns != 0 ? said_.blocks->columns : columns};
  if (scale[0] == 1 && scale[1] == 1) return {rows, columns};
  if (scale[0] == rows && columns % scale[1] == 0) return {1, columns / scale[1]};
  return kUsualBlocks;
}

Module::PerBlock Module::per_block(const TensorView& view, const char* kind, int64_t rows,
                                   int64_t columns) const {
  StoredWeight values = numbers(view, kind);
  UM_CHECK(view.elements() > 0, "{}: tensor {} is empty", where_, name(kind));
  const bool vector = view.shape.size() == 1;
  if (view.elements() == 1) values.shape = {1, 1};
  if (vector) values.shape = {view.shape[0], 1};
  UM_CHECK(values.shape.size() == 2, "{}: tensor {}: shape [{}] for a matrix [{}, {}]", where_,
           name(kind), fmt::join(view.shape, ", "), rows, columns);
  const ScaleBlocks blocks = blocks_of(values.shape, rows, columns);
  const std::vector<int64_t> expected{ceil_div(rows, blocks.rows),
                                      ceil_div(columns, blocks.columns)};
  const std::string found = fmt::format("shape [{}]", fmt::join(view.shape, ", "));
  if (said_.blocks)
    agree(values.shape == expected, kind, found,
          fmt::format("[{}] for a matrix [{}, {}] ({})", fmt::join(expected, ", "), rows, columns,
                      said_.strategy));
  UM_CHECK(values.shape == expected, "{}: tensor {}: {} for a matrix [{}, {}] in blocks of {} × {}",
           where_, name(kind), found, rows, columns, blocks.rows, blocks.columns);
  // A vector is read as a column.
  if (vector)
    values.read = [dtype = view.dtype, data = view.bytes.data()](int64_t row, int64_t n,
                                                                 float* out) {
      convert_to_f32(dtype, data + static_cast<size_t>(row) * dtype_size(dtype), out,
                     static_cast<size_t>(n));
    };
  return {values, blocks};
}

Module::PerBlock Module::scales(int64_t rows, int64_t columns) const {
  const TensorView *scale = find("weight_scale"), *inverse = find("weight_scale_inv");
  UM_CHECK(scale != nullptr || inverse != nullptr,
           "{}: tensor {}: expected weight_scale or weight_scale_inv beside it", where_,
           name("weight"));
  // The published name notwithstanding, weight_scale_inv is a factor, too.
  const char* kind = scale != nullptr ? "weight_scale" : "weight_scale_inv";
  const TensorView& view = scale != nullptr ? *scale : *inverse;
  UM_CHECK(view.dtype == DType::f32 || view.dtype == DType::bf16 || view.dtype == DType::f16,
           "{}: tensor {}: {}, expected scales in F32, BF16 or F16", where_, name(kind),
           dtype_file_name(view.dtype));
  return per_block(view, kind, rows, columns);
}

/// Rows of (q - zero) · scale; `order` has the group of every column unless they lie in order.
StoredWeight::Read dequantize(const StoredWeight::Read& q, int64_t columns, StoredWeight scale,
                              ScaleBlocks scale_blocks, std::optional<StoredWeight> zero,
                              ScaleBlocks zero_blocks, std::vector<int32_t> order) {
  return [=](int64_t row, int64_t count, float* out) {
    std::vector<float> scales(static_cast<size_t>(scale.columns()));
    std::vector<float> zeros(zero ? static_cast<size_t>(zero->columns()) : 0);
    const auto group = [&](int64_t c, ScaleBlocks blocks) {
      return order.empty() ? static_cast<size_t>(c / blocks.columns)
                           : static_cast<size_t>(order[static_cast<size_t>(c)]);
    };
    q(row, count, out);
    for (int64_t r = row; r < row + count; ++r, out += columns) {
      scale.read(r / scale_blocks.rows, 1, scales.data());
      if (zero) {
        zero->read(r / zero_blocks.rows, 1, zeros.data());
        for (int64_t c = 0; c < columns; ++c) out[c] -= zeros[group(c, zero_blocks)];
      }
      for (int64_t c = 0; c < columns; ++c) out[c] *= scales[group(c, scale_blocks)];
    }
  };
}

/// Rows that are stored times Hadamard's matrix, which is its own inverse.
StoredWeight::Read turned_back(StoredWeight::Read stored, int64_t columns, int64_t block) {
  return [=](int64_t row, int64_t count, float* out) {
    stored(row, count, out);
    best_cpu_kernels().rotate_rows({.rows = count,
                                    .width = columns,
                                    .block = block,
                                    .x = out,
                                    .ldx = columns,
                                    .y = out,
                                    .ldy = columns});
  };
}

/// Whether there are no zero points but 0 (ModelSlim writes them for symmetric weights too).
bool is_zero(const StoredWeight& zero) {
  std::vector<float> values(static_cast<size_t>(zero.columns()));
  for (int64_t row = 0; row < zero.rows(); ++row) {
    zero.read(row, 1, values.data());
    if (std::any_of(values.begin(), values.end(), [](float z) { return z != 0; })) return false;
  }
  return true;
}

/// Gives `weight` its values (q - zero) · scale and, where q are integers of `bits` bits with a
/// sign (0: they are not) in groups that kernels take, those.
void Module::add_values(StoredWeight& weight, StoredWeight::Read q, int bits, const PerBlock& scale,
                        const std::optional<PerBlock>& zero) const {
  const int64_t columns = weight.columns(), block = scale.blocks.columns;
  const std::vector<int32_t> order = column_groups(columns, scale);
  weight.read = dequantize(q, columns, scale.values, scale.blocks,
                           zero ? std::optional(zero->values) : std::nullopt,
                           zero ? zero->blocks : ScaleBlocks{}, order);
  const int64_t rotation = config_.rotation(base_, columns);
  if (rotation > 0) weight.read = turned_back(std::move(weight.read), columns, rotation);
  const bool whole = block == columns;
  const bool taken = whole || is_panel_group(block);
  const bool same = !zero || zero->blocks.columns == block;
  if (bits == 0 || !order.empty() || !taken || !same) return;
  const bool half = !zero && scale.values.dtype == DType::f16;
  const RowFormat format{.type = bits <= 4 ? RowType::panel4 : RowType::panel8,
                         .group = whole ? kWholeRow : block,
                         .scale_type = half ? ScaleType::f16 : ScaleType::f32,
                         .offsets = zero.has_value(),
                         .rotation = rotation};
  weight.codes = {format, [=](int64_t row, RowCodes& out) {
                    const int32_t middle = format.code_middle();
                    std::vector<float> values(static_cast<size_t>(columns));
                    q(row, 1, values.data());
                    out.codes.resize(values.size());
                    for (size_t c = 0; c < values.size(); ++c)
                      out.codes[c] = static_cast<uint8_t>(static_cast<int>(values[c]) + middle);
                    out.scales.resize(static_cast<size_t>(scale.values.columns()));
                    scale.values.read(row / scale.blocks.rows, 1, out.scales.data());
                    out.offsets.resize(zero ? out.scales.size() : 0);
                    if (!zero) return;
                    zero->values.read(row / zero->blocks.rows, 1, out.offsets.data());
                    for (size_t g = 0; g < out.offsets.size(); ++g)
                      out.offsets[g] =
                          -(out.offsets[g] + static_cast<float>(middle)) * out.scales[g];
                  }};
}

/// Integers of less than 8 bits are kept as I8, too: none may be larger than they can be.
void Module::check_range(const TensorView& stored) const {
  if (stored.dtype != DType::i8 || said_.bits.value_or(8) >= 8) return;
  const int limit = 1 << (*said_.bits - 1);
  for (const std::byte byte : stored.bytes) {
    const int value = static_cast<int8_t>(byte);
    agree(value >= -limit && value < limit, "weight", fmt::format("a value of {}", value),
          fmt::format("num_bits {}", *said_.bits));
  }
}

StoredWeight Module::scaled(const TensorView& stored) const {
  const std::string found = fmt::format("{}", dtype_file_name(stored.dtype));
  if (said_.dtype)
    agree(stored.dtype == *said_.dtype, "weight", found, dtype_file_name(*said_.dtype));
  const bool floats = stored.dtype == DType::f8_e4m3 || stored.dtype == DType::f8_e5m2;
  UM_CHECK(
      (floats || stored.dtype == DType::i8) && stored.shape.size() == 2 && stored.elements() > 0,
      "{}: tensor {}: {} of shape [{}] has scales; expected a matrix of I8, F8_E4M3 or F8_E5M2",
      where_, name("weight"), found, fmt::join(stored.shape, ", "));
  check_range(stored);
  const int64_t rows = stored.shape[0], columns = stored.shape[1];
  if (find("weight_shape") != nullptr)
    UM_CHECK(said_shape() == (std::array{rows, columns}),
             "{}: tensor {}: [{}], expected [{}, {}], the shape of {}", where_,
             name("weight_shape"), fmt::join(said_shape(), ", "), rows, columns, name("weight"));
  const PerBlock scale = scales(rows, columns);
  const std::optional<PerBlock> zero = zeros(rows, columns, 0);
  StoredWeight weight = plain_weight(stored);
  weight.dtype = DType::bf16;
  weight.exact = false;
  weight.plain = {};
  weight.bytes += scale.values.bytes;
  weight.format = fmt::format("{} with scales per {} × {}", weight.format, scale.blocks.rows,
                              scale.blocks.columns);
  add_values(weight, weight.read, floats ? 0 : 8, scale, zero);
  return weight;
}

int32_t word_at(const std::byte* data, int64_t index) {
  int32_t word;
  std::memcpy(&word, data + index * 4, sizeof word);
  return word;
}

/// The value at `place` of a 32-bit word of values of `bits`, lowest first, shifted to be unsigned.
float value_at(const std::byte* data, int64_t word, int64_t place, int bits) {
  const uint32_t mask = (1U << bits) - 1;
  const auto raw = static_cast<uint32_t>(word_at(data, word)) >> (place * bits) & mask;
  return static_cast<float>(static_cast<int>(raw) - (1 << (bits - 1)));
}

/// The zero points unless all are 0. Those of a packed weight (`bits` > 0) are packed along the
/// rows where there is more than one of them.
std::optional<Module::PerBlock> Module::zeros(int64_t rows, int64_t columns, int bits) const {
  const char* kind = find("weight_zero_point") != nullptr ? "weight_zero_point" : "weight_offset";
  const TensorView* view = find(kind);
  if (view == nullptr) {
    agree(said_.symmetric.value_or(true), kind, "no zero points", "symmetric false");
    return {};
  }
  PerBlock zero;
  if (bits > 0 && view->dtype == DType::i32) {
    const int64_t per_word = 32 / bits;
    const PerBlock scale = scales(rows, columns);
    const int64_t groups = scale.values.columns(), scale_rows = scale.values.rows();
    const std::vector<int64_t> expected{ceil_div(scale_rows, per_word), groups};
    UM_CHECK(view->shape == expected, "{}: tensor {}: shape [{}], expected packed [{}]", where_,
             name(kind), fmt::join(view->shape, ", "), fmt::join(expected, ", "));
    zero.values.shape = {scale_rows, groups};
    zero.values.read = [=, data = view->bytes.data()](int64_t row, int64_t count, float* out) {
      for (int64_t r = row; r < row + count; ++r)
        for (int64_t g = 0; g < groups; ++g)
          *out++ = value_at(data, r / per_word * groups + g, r % per_word, bits);
    };
    zero.blocks = scale.blocks;
  } else {
    zero = per_block(*view, kind, rows, columns);
  }
  if (is_zero(zero.values)) return {};
  agree(!said_.symmetric.value_or(false), kind, "zero points", "symmetric");
  return zero;
}

/// The group of every column where an activation order was used; empty where they lie in order.
std::vector<int32_t> Module::column_groups(int64_t columns, const PerBlock& scale) const {
  const TensorView* order = find("weight_g_idx");
  if (order == nullptr) {
    agree(!said_.ordered.value_or(false), "weight_g_idx", "no such tensor", "actorder group");
    return {};
  }
  const int64_t groups = scale.values.columns();
  UM_CHECK(order->dtype == DType::i32 && order->elements() == columns,
           "{}: tensor {}: expected {} values of I32", where_, name("weight_g_idx"), columns);
  std::vector<int32_t> group(static_cast<size_t>(columns));
  std::memcpy(group.data(), order->bytes.data(), order->bytes.size());
  if (std::all_of(group.begin(), group.end(), [](int32_t g) { return g == -1; })) return {};
  std::vector<int64_t> sizes(static_cast<size_t>(groups));
  bool in_order = true;
  for (int64_t c = 0; c < columns; ++c) {
    const int32_t g = group[static_cast<size_t>(c)];
    UM_CHECK(g >= 0 && g < groups, "{}: tensor {}: group {} of {}", where_, name("weight_g_idx"), g,
             groups);
    ++sizes[static_cast<size_t>(g)];
    in_order = in_order && g == c / scale.blocks.columns;
  }
  if (in_order) return {};
  agree(said_.ordered.value_or(true), "weight_g_idx", "columns in another order",
        "no actorder group");
  for (int64_t g = 0; g < groups; ++g)
    UM_CHECK(sizes[static_cast<size_t>(g)] ==
                 std::min(scale.blocks.columns, columns - g * scale.blocks.columns),
             "{}: tensor {}: {} columns in group {}, expected {}", where_, name("weight_g_idx"),
             sizes[static_cast<size_t>(g)], g, scale.blocks.columns);
  return group;
}

/// Rows and columns of a packed matrix.
std::array<int64_t, 2> Module::packed_shape() const {
  UM_CHECK(find("weight_shape") != nullptr && find("weight_scale") != nullptr,
           "{}: tensor {}: expected weight_shape and weight_scale beside it", where_,
           name("weight_packed"));
  return said_shape();
}

/// What weight_shape says.
std::array<int64_t, 2> Module::said_shape() const {
  const TensorView* shape = find("weight_shape");
  UM_CHECK(shape->elements() == 2, "{}: tensor {}: expected 2 values, found {}", where_,
           name("weight_shape"), shape->elements());
  float extents[2] = {0, 0};
  numbers(*shape, "weight_shape").read(0, 1, extents);
  for (const float extent : extents)
    UM_CHECK(extent >= 1 && extent <= float{1 << 24}, "{}: tensor {}: extent {}", where_,
             name("weight_shape"), extent);
  return {static_cast<int64_t>(extents[0]), static_cast<int64_t>(extents[1])};
}

/// How many bits a packed value has: what is said, or what the width allows.
int Module::packed_bits(const TensorView& packed, int64_t rows, int64_t columns) const {
  const auto fits = [&](int64_t bits) {
    return packed.dtype == DType::i32 && packed.shape.size() == 2 && packed.shape[0] == rows &&
           packed.shape[1] == ceil_div(columns * bits, 32);
  };
  const std::string found =
      fmt::format("{} of shape [{}]", dtype_file_name(packed.dtype), fmt::join(packed.shape, ", "));
  if (said_.bits) {
    UM_CHECK(32 % *said_.bits == 0,
             "{}: packed values of {} bits cannot be read (1, 2, 4 and 8 can)", said_.where,
             *said_.bits);
    agree(fits(*said_.bits), "weight_packed", found,
          fmt::format("I32 of [{}, {}] for num_bits {} and weight_shape [{}, {}]", rows,
                      ceil_div(columns * *said_.bits, 32), *said_.bits, rows, columns));
    return static_cast<int>(*said_.bits);
  }
  const int bits = fits(8) ? 8 : 4;
  UM_CHECK(fits(bits), "{}: tensor {}: {}, expected I32 words with [{}, {}] values of 4 or 8 bits",
           where_, name("weight_packed"), found, rows, columns);
  return bits;
}

/// Values of a few bits in 32-bit words along the columns.
StoredWeight Module::unpacked(const TensorView& packed) const {
  const auto [rows, columns] = packed_shape();
  const int bits = packed_bits(packed, rows, columns);
  const PerBlock scale = scales(rows, columns);
  const std::optional<PerBlock> zero = zeros(rows, columns, bits);
  const int64_t per_word = 32 / bits, words = packed.shape[1];
  const auto values = [=, columns = columns, data = packed.bytes.data()](int64_t row, int64_t count,
                                                                         float* out) {
    for (int64_t r = row; r < row + count; ++r)
      for (int64_t c = 0; c < columns; ++c)
        *out++ = value_at(data, r * words + c / per_word, c % per_word, bits);
  };
  StoredWeight weight;
  weight.shape = {rows, columns};
  weight.dtype = DType::bf16;
  weight.exact = false;
  weight.bytes = packed.bytes.size() + scale.values.bytes;
  weight.format = fmt::format("packed int{} in groups of {}", bits, scale.blocks.columns);
  add_values(weight, values, bits, scale, zero);
  return weight;
}

std::optional<StoredWeight> Module::bias() const {
  const TensorView *quantised = find("quant_bias"), *units = find("deq_scale"),
                   *offset = find("input_offset"), *stored = reader_.find(base_ + ".weight");
  if (quantised == nullptr || reader_.find(base_ + ".bias") != nullptr) return {};
  UM_CHECK(units != nullptr, "{}: tensor {}: expected {} beside it", where_, name("quant_bias"),
           name("deq_scale"));
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

/// Throws Error for a tensor that is stored as it is and said to be quantised, or is integers
/// without their scale, which are no weights. (8-bit floats may be meant as they are.) Returns
/// whether it is a matrix that compressed-tensors targets.
bool check_not_quantised(const std::string& name, const TensorView& view,
                         const QuantizationConfig& config, const std::string& where) {
  const auto base = base_of(name, "weight");
  if (!base || view.shape.size() != 2) return false;
  const bool floats = view.dtype == DType::f8_e4m3 || view.dtype == DType::f8_e5m2;
  UM_CHECK(!(view.dtype == DType::i8 || (floats && config.quantised())),
           "{}: tensor {}: {} without a scale; expected {} beside it", where, quote(name),
           dtype_file_name(view.dtype), quote(name + "_scale"));
  UM_CHECK(config.rotation(*base, view.shape[1]) == 0,
           "{}: tensor {}: what it is multiplied with is to be transformed, but it is not "
           "quantised; such a model cannot be read",
           where, quote(name));
  const WeightScheme* said = config.scheme(*base);
  if (said == nullptr || !said->quantised) return false;
  UM_CHECK(!config.strict(),
           "{}: tensor {}: {} without scales, but {} ({}) by {}; correct that, or fetch the "
           "checkpoint again",
           where, quote(name), dtype_file_name(view.dtype), dtype_file_name(*said->dtype),
           said->strategy, said->where);
  return config.targets();
}

/// Whether it is a scale of the KV cache, which compressed-tensors keeps beside projections.
bool is_cache_scale(const std::string& name) {
  for (const char* kind : {"k_scale", "v_scale", "q_scale", "k_zero_point", "v_zero_point"})
    if (base_of(name, kind)) return true;
  return false;
}

}  // namespace

void add_safetensors_weights(const CheckpointReader& reader, const fs::path& path,
                             WeightSource& source) {
  std::error_code ignored;
  const fs::path directory = fs::is_directory(path, ignored) ? path : path.parent_path();
  const QuantizationConfig config(directory);
  config.check_described(reader);
  for (const std::string& warning : config.warnings()) source.warn(warning);
  std::set<std::string> bases;
  for (const auto& [name, view] : reader.tensors())
    for (const char* kind : {"weight_scale", "weight_scale_inv", "weight_packed"})
      if (auto base = base_of(name, kind)) bases.insert(std::move(*base));
  std::set<std::string> done;
  for (const auto& [name, view] : reader.tensors())
    for (const char* form : {"weight_packed", "qweight"})
      if (const auto base = base_of(name, form)) check_stored_once(reader, *base, path.string());
  for (const std::string& base : bases) {
    Module module(reader, base, config, path.string());
    source.add(base + ".weight", module.weight());
    if (auto bias = module.bias()) source.add(base + ".bias", std::move(*bias));
    done.insert(base + ".weight");
    for (const char* kind : kSideTensors) done.insert(base + "." + kind);
  }
  std::vector<std::string> plain;
  for (const auto& [name, view] : reader.tensors()) {
    if (done.contains(name) || (config.quantised() && is_cache_scale(name))) continue;
    if (check_not_quantised(name, *view, config, path.string())) plain.push_back(name);
    source.add(name, plain_weight(*view));
  }
  if (!plain.empty())
    source.warn(
        fmt::format("{}: {} matrices that config_groups targets are not quantised in the "
                    "file and read as they are, first {}",
                    path.string(), plain.size(), quote(plain.front())));
}

}  // namespace um
