// See pack_export.h.
#include "models/pack_export.h"

#include <algorithm>
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

nlohmann::json config_group(const RowFormat& format, const std::vector<std::string>& targets) {
  return {{"targets", targets},
          {"weights",
           {{"num_bits", row_type_bits(format.type)},
            {"type", "int"},
            {"symmetric", true},
            {"strategy", "group"},
            {"group_size", format.group},
            {"dynamic", false}}},
          {"input_activations", nullptr}};
}

}  // namespace

bool is_packed(const std::string& name, const StoredWeight& weight, const RowFormat& format) {
  const auto ends = [&](const char* end) { return name.ends_with(end); };
  if (weight.shape.size() != 2 || !ends(".weight") || weight.columns() % format.group != 0)
    return false;
  return !ends("embed_tokens.weight") && !ends("lm_head.weight") && !ends("mlp.gate.weight") &&
         !ends("kv_b_proj.weight");
}

std::array<TensorSpec, 3> packed_specs(const std::string& name, const StoredWeight& weight,
                                       const RowFormat& format) {
  const int64_t rows = weight.rows(), columns = weight.columns();
  const int64_t words = (columns * row_type_bits(format.type) + 31) / 32;
  return {TensorSpec{name + "_packed", DType::i32, {rows, words}},
          TensorSpec{name + "_scale", DType::f16, {rows, format.scales(columns)}},
          TensorSpec{name + "_shape", DType::i64, {2}}};
}

void check_scales(const std::vector<RowCodes>& rows, const std::string& where) {
  for (const RowCodes& row : rows)
    for (const float scale : row.scales)
      UM_CHECK(std::isfinite(f32_from_f16(f16_from_f32(scale))),
               "{}: NaN, Inf, or values too large for f16 scales; such a model runs in bf16 or f32",
               where);
}

void PackWriter::write_codes(const std::string& name, const StoredWeight& weight,
                             const RowFormat& format, const TensorSpec& part,
                             const TensorSink& sink) {
  std::vector<uint16_t>& scales = scales_[name];
  scales.clear();
  scales.reserve(static_cast<size_t>(weight.rows() * format.scales(weight.columns())));
  for (int64_t begin = 0; begin < weight.rows(); begin += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, weight.rows() - begin);
    const std::vector<RowCodes> rows = codes_of(weight, format, begin, count);
    check_scales(rows, name);
    for (const RowCodes& row : rows) {
      const std::vector<uint32_t> words =
          words_of(row, row_type_bits(format.type), part.shape.back());
      sink(std::as_bytes(std::span(words)));
      std::transform(row.scales.begin(), row.scales.end(), std::back_inserter(scales),
                     f16_from_f32);
    }
  }
}

void PackWriter::write(const std::string& name, const StoredWeight& weight, const RowFormat& format,
                       const TensorSpec& part, const TensorSink& sink) {
  if (part.name.ends_with("_shape")) {
    const std::array<int64_t, 2> shape{weight.rows(), weight.columns()};
    return sink(std::as_bytes(std::span(shape)));
  }
  if (part.name.ends_with("_packed")) return write_codes(name, weight, format, part, sink);
  const auto scales = scales_.find(name);
  UM_CHECK(scales != scales_.end(), "{}: its scales are written before its integers", name);
  sink(std::as_bytes(std::span(scales->second)));
  scales_.erase(scales);
}

nlohmann::json packed_config(const WeightTypes& formats, const std::vector<std::string>& ignored) {
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
  for (const auto& [name, group] : others)
    groups[fmt::format("group_{}", groups.size())] = config_group(group.first, group.second);
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", kept}};
}

}  // namespace um
