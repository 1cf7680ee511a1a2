// See pack_export.h.
#include "models/pack_export.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "core/error.h"
#include "kernels/registry.h"
#include "ops/rounding.h"

namespace um {
namespace {

constexpr int64_t kRowsAtOnce = 256;

/// Rows [begin, begin + count) in integers.
std::vector<RowCodes> codes_of(const StoredWeight& weight, const RowFormat& format, int64_t begin,
                               int64_t count) {
  std::vector<RowCodes> rows(static_cast<size_t>(count));
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t i = 0; i < count; ++i) {
    RowCodes& row = rows[static_cast<size_t>(i)];
    if (weight.codes.format == format) {
      weight.codes.read(begin + i, row);
      continue;
    }
    std::vector<float> values(static_cast<size_t>(weight.columns()));
    weight.read(begin + i, 1, values.data());
    row = round_row(best_cpu_kernels(), values.data(), weight.columns(), format);
  }
  return rows;
}

/// Element i in the bits from i * bits on.
std::vector<uint32_t> words_of(const RowCodes& row, int64_t bits, int64_t words) {
  std::vector<uint32_t> packed(static_cast<size_t>(words), 0);
  for (size_t i = 0; i < row.codes.size(); ++i) {
    const size_t bit = i * static_cast<size_t>(bits);
    packed[bit / 32] |= uint32_t{row.codes[i]} << (bit % 32);
  }
  return packed;
}

/// The integers of a row of 8 bits.
std::vector<int8_t> signed_codes(const RowCodes& row, const RowFormat& format) {
  std::vector<int8_t> values(row.codes.size());
  std::transform(row.codes.begin(), row.codes.end(), values.begin(), [&](uint8_t code) {
    return static_cast<int8_t>(int32_t{code} - format.code_middle());
  });
  return values;
}

nlohmann::json config_group(const RowFormat& format, const std::vector<std::string>& targets) {
  nlohmann::json weights = {{"num_bits", row_type_bits(format.type)},
                            {"type", "int"},
                            {"symmetric", true},
                            {"dynamic", false}};
  nlohmann::json inputs;  // null: other engines choose; the form for int8 products names them
  if (format.group == kWholeRow) {
    weights["strategy"] = "channel";
    inputs = {{"num_bits", 8},
              {"type", "int"},
              {"symmetric", true},
              {"strategy", "token"},
              {"dynamic", true}};
  } else {
    weights["strategy"] = "group";
    weights["group_size"] = format.group;
  }
  return {{"targets", targets}, {"weights", weights}, {"input_activations", inputs}};
}

/// Adds a transform of the modules' inputs, and of their weights, to the config's.
void add_rotation(nlohmann::json& groups, int64_t block, const std::vector<std::string>& targets,
                  const std::vector<std::string>& ignored) {
  if (block == 0) return;
  const auto place = [&](const char* location, bool inverse) {
    return nlohmann::json{
        {"targets", targets}, {"location", location}, {"inverse", inverse}, {"ignore", ignored}};
  };
  groups[fmt::format("rotation_{}", groups.size())] = {
      {"type", "hadamard"},
      {"head_dim", block},
      {"randomize", false},
      {"requires_grad", false},
      {"apply", {place("input", false), place("weight_input", true)}}};
}

/// Calls use(row) with the integers of all rows, in order. Throws Error as check_scales does.
template <class Use>
void for_rows(const std::string& name, const StoredWeight& weight, const RowFormat& format,
              Use use) {
  for (int64_t begin = 0; begin < weight.rows(); begin += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, weight.rows() - begin);
    const std::vector<RowCodes> rows = codes_of(weight, format, begin, count);
    check_scales(rows, format, name);
    for (const RowCodes& row : rows) use(row);
  }
}

}  // namespace

bool is_packed(const std::string& name, const StoredWeight& weight, const RowFormat& format) {
  const auto ends = [&](const char* end) { return name.ends_with(end); };
  const bool whole_groups = (format.group == kWholeRow || weight.columns() % format.group == 0) &&
                            (format.rotation == 0 || weight.columns() % format.rotation == 0);
  if (weight.shape.size() != 2 || !ends(".weight") || !whole_groups) return false;
  return !ends("embed_tokens.weight") && !ends("lm_head.weight") && !ends("mlp.gate.weight") &&
         !ends("kv_b_proj.weight");
}

std::vector<TensorSpec> packed_specs(const std::string& name, const StoredWeight& weight,
                                     const RowFormat& format, IntegerForm form) {
  const int64_t rows = weight.rows(), columns = weight.columns();
  if (form == IntegerForm::packed) {
    const int64_t words = (columns * row_type_bits(format.type) + 31) / 32;
    return {{name + "_packed", DType::i32, {rows, words}},
            {name + "_scale", DType::f16, {rows, format.scales(columns)}},
            {name + "_shape", DType::i64, {2}}};
  }
  std::vector<TensorSpec> specs{{name, DType::i8, {rows, columns}},
                                {name + "_scale", DType::f32, {rows, 1}}};
  if (form == IntegerForm::modelslim) specs.push_back({name + "_offset", DType::f32, {rows, 1}});
  return specs;
}

void check_scales(const std::vector<RowCodes>& rows, const RowFormat& format,
                  const std::string& where) {
  const bool half = format.scale_type == ScaleType::f16;
  for (const RowCodes& row : rows)
    for (const float scale : row.scales)
      UM_CHECK(std::isfinite(half ? f32_from_f16(f16_from_f32(scale)) : scale),
               "{}: NaN, Inf, or values too large for {} scales; such a model runs in bf16 or f32",
               where, half ? "f16" : "f32");
}

void PackWriter::write_codes(const std::string& name, const StoredWeight& weight,
                             const RowFormat& format, const TensorSpec& part,
                             const TensorSink& sink) {
  if (part.dtype == DType::i8)
    return for_rows(name, weight, format, [&](const RowCodes& row) {
      const std::vector<int8_t> values = signed_codes(row, format);
      sink(std::as_bytes(std::span(values)));
    });
  std::vector<float>& scales = scales_[name];
  scales.clear();
  for_rows(name, weight, format, [&](const RowCodes& row) {
    const std::vector<uint32_t> words =
        words_of(row, row_type_bits(format.type), part.shape.back());
    sink(std::as_bytes(std::span(words)));
    scales.insert(scales.end(), row.scales.begin(), row.scales.end());
  });
}

void PackWriter::write_scales(const std::string& name, const StoredWeight& weight,
                              const RowFormat& format, const TensorSpec& part,
                              const TensorSink& sink) {
  std::vector<float> scales;
  if (auto known = scales_.extract(name))
    scales = std::move(known.mapped());
  else
    for_rows(name, weight, format, [&](const RowCodes& row) {
      scales.insert(scales.end(), row.scales.begin(), row.scales.end());
    });
  std::vector<std::byte> stored(part.byte_size());
  convert_from_f32(part.dtype, scales.data(), stored.data(), scales.size());
  sink(stored);
}

void PackWriter::write(const std::string& name, const StoredWeight& weight, const RowFormat& format,
                       const TensorSpec& part, const TensorSink& sink) {
  if (part.name == name + "_shape") {
    const std::array<int64_t, 2> shape{weight.rows(), weight.columns()};
    return sink(std::as_bytes(std::span(shape)));
  }
  if (part.name == name + "_offset") return sink(std::vector<std::byte>(part.byte_size()));
  if (part.name == name + "_scale") return write_scales(name, weight, format, part, sink);
  write_codes(name, weight, format, part, sink);
}

nlohmann::json packed_config(const IntegerFiles& files, const std::vector<std::string>& ignored) {
  const WeightTypes& formats = files.formats;
  // Where the embedding is the head, too, other programs have a module of that name all the same.
  std::vector<std::string> kept = ignored;
  if (std::ranges::find(kept, "lm_head") == kept.end()) kept.push_back("lm_head");
  nlohmann::json groups;
  groups["group_0"] = config_group(formats.matrices, {"Linear"});
  std::map<std::string, std::pair<RowFormat, std::vector<std::string>>> others;
  for (const auto& [name, format] : formats.others) {
    auto& [same, modules] = others[format_name(format)];
    same = format;
    modules.push_back(name.substr(0, name.rfind('.')));
  }
  std::vector<std::string> apart = kept;  // modules that are not turned as most are
  nlohmann::json rotations = nlohmann::json::object();
  for (const auto& [name, group] : others) {
    groups[fmt::format("group_{}", groups.size())] = config_group(group.first, group.second);
    if (group.first.rotation == formats.matrices.rotation) continue;
    add_rotation(rotations, group.first.rotation, group.second, {});
    apart.insert(apart.end(), group.second.begin(), group.second.end());
  }
  add_rotation(rotations, formats.matrices.rotation, {"Linear"}, apart);
  nlohmann::json config = {
      {"quant_method", "compressed-tensors"},
      {"format", files.form == IntegerForm::packed ? "pack-quantized" : "int-quantized"},
      {"quantization_status", "compressed"},
      {"config_groups", groups},
      {"ignore", kept}};
  if (!rotations.empty()) config["transform_config"] = {{"config_groups", rotations}};
  return config;
}

}  // namespace um
