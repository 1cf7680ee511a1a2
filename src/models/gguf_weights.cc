// A GGUF file's tensors under Hugging Face names; see gguf_model.h.
#include <algorithm>

#include "core/block_types.h"
#include "core/error.h"
#include "core/json.h"
#include "models/gguf_model.h"
#include "models/gguf_names.h"

namespace um {
namespace {

constexpr int64_t kMaxExperts = 1 << 16;

DType kept_type(BlockType type) {
  if (type == BlockType::f32) return DType::f32;
  return type == BlockType::f16 ? DType::f16 : DType::bf16;
}

ScaleType scale_type(BlockScales scales) {
  if (scales == BlockScales::f32) return ScaleType::f32;
  return scales == BlockScales::f16 ? ScaleType::f16 : ScaleType::coded;
}

/// The narrowest panels that hold a block type's integers.
RowFormat panel_format(const BlockFormat& blocks) {
  RowFormat format{RowType::panel8, static_cast<int64_t>(blocks.group), scale_type(blocks.scales),
                   blocks.offsets};
  for (const RowType type : {RowType::panel6, RowType::panel5, RowType::panel4}) {
    RowFormat narrower = format;
    narrower.type = type;
    const int least = -narrower.middle();
    if (blocks.lowest >= least && blocks.highest < least + (1 << row_type_bits(type)))
      format = narrower;
  }
  return format;
}

/// The integers of a tensor in blocks, `columns` to a row.
StoredWeight::Codes block_codes(const BlockFormat& blocks, const std::byte* data, int64_t columns) {
  const RowFormat format = panel_format(blocks);
  const size_t count = static_cast<size_t>(columns) / blocks.elements;
  const size_t groups = blocks.elements / blocks.group;
  return {format, [=](int64_t row, RowCodes& out) {
            out.codes.resize(count * blocks.elements);
            out.scales.resize(count * groups);
            out.offsets.resize(blocks.offsets ? count * groups : 0);
            out.units.resize(count);
            out.offset_units.resize(count);
            const std::byte* from = data + static_cast<size_t>(row) * count * blocks.bytes;
            BlockIntegers block{};
            for (size_t b = 0; b < count; ++b, from += blocks.bytes) {
              read_block(blocks.type, from, block);
              for (size_t i = 0; i < blocks.elements; ++i)
                out.codes[b * blocks.elements + i] =
                    static_cast<uint8_t>(block.q[i] + format.middle());
              out.units[b] = block.unit;
              out.offset_units[b] = block.offset_unit;
              std::copy_n(block.scales.begin(), groups, out.scales.data() + b * groups);
              if (blocks.offsets)
                std::copy_n(block.offsets.begin(), groups, out.offsets.data() + b * groups);
            }
          }};
}

StoredWeight stored_weight(const Gguf& file, const GgufTensor& tensor) {
  const std::span<const std::byte> bytes = file.contents(tensor);
  for (const int64_t extent : tensor.shape)
    UM_CHECK(extent > 0, "{}: tensor {}: shape [{}]", file.name(), quote(tensor.name),
             fmt::join(tensor.shape, ", "));
  const auto type = static_cast<BlockType>(tensor.type);
  const BlockFormat& format = block_format(type);
  StoredWeight weight;
  weight.shape = tensor.shape;
  weight.dtype = kept_type(type);
  weight.exact = format.elements == 1;
  weight.format = format.name;
  weight.bytes = bytes.size();
  if (format.elements == 1) weight.plain = bytes;
  const int64_t columns = weight.columns();
  if (format.elements > 1) weight.codes = block_codes(format, bytes.data(), columns);
  const size_t row_bytes = static_cast<size_t>(columns) / format.elements * format.bytes;
  weight.read = [type, data = bytes.data(), row_bytes, columns](int64_t row, int64_t count,
                                                                float* out) {
    decode_blocks(type, data + static_cast<size_t>(row) * row_bytes, out,
                  static_cast<size_t>(count * columns));
  };
  return weight;
}

/// Translates the tensors of one model.
class Translation {
 public:
  Translation(const GgufModel& model, const GgufNames& names, WeightSource& out)
      : model_(model), names_(names), out_(out) {}

  void add(const GgufTensor& tensor, const StoredWeight& weight) {
    if (tensor.name == "rope_freqs.weight") return;  // part of the config
    if (const GgufRule* rule = names_.find_global(tensor.name)) return out_.add(rule->hf, weight);
    const auto name = split_layer_name("blk.", tensor.name);
    const GgufRule* rule = name ? names_.find_layer(name->rest) : nullptr;
    if (rule == nullptr) return out_.add(tensor.name, weight);  // reported as unused
    apply(*rule, tensor, weight, name->layer);
  }

  /// kv_b_proj where both halves of a layer were there.
  void finish() {
    for (const auto& [layer, halves] : kv_b_) add_kv_b(layer, halves);
  }

 private:
  struct Halves {
    StoredWeight k, v;
  };

  static std::string prefix(int64_t layer) { return fmt::format("model.layers.{}.", layer); }

  void apply(const GgufRule& rule, const GgufTensor& tensor, const StoredWeight& weight,
             int64_t layer) {
    const std::string hf = prefix(layer) + rule.hf;
    switch (rule.layout) {
      case GgufLayout::same:
        return out_.add(hf, weight);
      case GgufLayout::query_rows:
        return out_.add(hf, halves(tensor, weight, model_.layers_integer("attention.head_count")));
      case GgufLayout::key_rows:
        return out_.add(
            hf, halves(tensor, weight,
                       model_.layers_integer_or("attention.head_count_kv",
                                                model_.layers_integer("attention.head_count"))));
      case GgufLayout::experts:
        return add_experts(rule, tensor, weight, layer);
      case GgufLayout::gate_up:
        return add_gate_up(tensor, weight, prefix(layer) + "mlp.experts.");
      case GgufLayout::mla_k:
        kv_b_[layer].k = weight;
        return;
      case GgufLayout::mla_v:
        kv_b_[layer].v = weight;
        return;
      case GgufLayout::row:
        return out_.add(hf, reshaped(weight, {1, weight.columns()}));
    }
  }

  /// Rows in the order of half-rotate; of a bias, its values.
  StoredWeight halves(const GgufTensor& tensor, const StoredWeight& weight, int64_t heads) const {
    const int64_t rows = weight.shape.size() == 1 ? weight.shape[0] : weight.rows();
    UM_CHECK(heads > 0 && rows % heads == 0 && rows / heads % 2 == 0,
             "{}: tensor {}: {} rows for {} heads", model_.name(), quote(tensor.name), rows, heads);
    const auto order = [head = rows / heads](int64_t row) { return interleaved_row(row, head); };
    if (weight.shape.size() != 1) return reorder_rows(weight, order);
    return reorder_values(weight, order);
  }

  void check_experts(const GgufTensor& tensor, const StoredWeight& weight) const {
    const int64_t experts = model_.integer("expert_count");
    UM_CHECK(weight.shape.size() == 3 && weight.shape[0] == experts && experts <= kMaxExperts,
             "{}: tensor {}: shape [{}], expected [{}, rows, columns], at most {} experts",
             model_.name(), quote(tensor.name), fmt::join(weight.shape, ", "), experts,
             kMaxExperts);
  }

  void add_experts(const GgufRule& rule, const GgufTensor& tensor, const StoredWeight& weight,
                   int64_t layer) {
    check_experts(tensor, weight);
    const size_t hole = rule.hf.find("{}");
    const int64_t rows = weight.shape[1], columns = weight.shape[2];
    for (int64_t e = 0; e < weight.shape[0]; ++e)
      out_.add(
          prefix(layer) + rule.hf.substr(0, hole) + std::to_string(e) + rule.hf.substr(hole + 2),
          row_slice(weight, e * rows, {rows, columns}));
  }

  void add_gate_up(const GgufTensor& tensor, const StoredWeight& weight,
                   const std::string& experts) {
    check_experts(tensor, weight);
    UM_CHECK(weight.shape[1] % 2 == 0, "{}: tensor {}: an odd number of rows", model_.name(),
             quote(tensor.name));
    const int64_t rows = weight.shape[1] / 2, columns = weight.shape[2];
    for (int64_t e = 0; e < weight.shape[0]; ++e) {
      const std::string expert = experts + std::to_string(e);
      out_.add(expert + ".gate_proj.weight", row_slice(weight, 2 * e * rows, {rows, columns}));
      out_.add(expert + ".up_proj.weight", row_slice(weight, (2 * e + 1) * rows, {rows, columns}));
    }
  }

  /// k: [heads, rank, nope], v: [heads, v, rank]; kv_b: for each head nope rows of k, then v's.
  void add_kv_b(int64_t layer, const Halves& parts) {
    const auto three = [](const StoredWeight& w) { return w.shape.size() == 3; };
    UM_CHECK(three(parts.k) && three(parts.v) && parts.k.shape[0] == parts.v.shape[0] &&
                 parts.k.shape[1] == parts.v.shape[2],
             "{}: layer {}: attn_k_b of shape [{}] and attn_v_b of shape [{}], expected [heads, "
             "rank, nope] and [heads, v, rank]",
             model_.name(), layer, fmt::join(parts.k.shape, ", "), fmt::join(parts.v.shape, ", "));
    const StoredWeight joined = join_middle(swap_last(parts.k), parts.v);
    out_.add(prefix(layer) + "self_attn.kv_b_proj.weight",
             reshaped(joined, {joined.shape[0] * joined.shape[1], joined.shape[2]}));
  }

  const GgufModel& model_;
  const GgufNames& names_;
  WeightSource& out_;
  std::map<int64_t, Halves> kv_b_;
};

}  // namespace

WeightSource gguf_weights(const GgufModel& model) {
  const GgufNames* names = find_gguf_names(model.architecture());
  UM_CHECK(names != nullptr, "{}: general.architecture is {}; known: {}", model.name(),
           quote(model.architecture()), fmt::join(gguf_architectures(), ", "));
  WeightSource out(model.name());
  Translation translation(model, *names, out);
  for (const auto& part : model.parts()) {
    out.keep(part);
    if (part->file() != nullptr) out.add_file(*part->file());
    for (const GgufTensor& tensor : part->tensors())
      translation.add(tensor, stored_weight(*part, tensor));
  }
  translation.finish();
  return out;
}

}  // namespace um
