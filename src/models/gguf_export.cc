// Tensors; see gguf_export.h. The metadata is made in gguf_metadata.cc.
#include "models/gguf_export.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "models/config.h"
#include "models/gguf_metadata.h"
#include "models/gguf_names.h"
#include "models/model.h"
#include "ops/devices.h"

namespace um {
namespace {

constexpr int64_t kChunk = int64_t{1} << 20;  // elements converted at a time

/// Collects the tensors of one checkpoint.
class Export {
 public:
  Export(const Json& config, const WeightSource& source, const GgufNames& names, GgufPlan& plan)
      : config_(config), source_(source), names_(names), plan_(plan) {}

  void run() {
    for (const GgufRule& rule : names_.global) add_same(rule.gguf, rule.hf);
    const int64_t layers = config_.at("num_hidden_layers").get<int64_t>() + mtp_layers(config_);
    for (int64_t layer = 0; layer < layers; ++layer)
      for (const GgufRule& rule : names_.layer) add(rule, layer);
    for (const auto& [name, weight] : source_.tensors())
      if (!used_.contains(name) && !name.ends_with(".rotary_emb.inv_freq"))  // a table, computed
        plan_.lost.push_back(name);
  }

 private:
  void put(const std::string& name, StoredWeight weight) {
    GgufOutput output;
    output.spec.name = name;
    output.spec.shape = weight.shape;
    output.weight = std::move(weight);
    plan_.tensors.push_back(std::move(output));
  }

  void add_same(const std::string& gguf, const std::string& hf) {
    const StoredWeight* weight = take(hf);
    if (weight != nullptr) put(gguf, *weight);
  }

  const StoredWeight* take(const std::string& hf) {
    const StoredWeight* weight = source_.find(hf);
    if (weight != nullptr) {
      UM_CHECK(weight->read, "{}: tensor {}: {} cannot be read as numbers", source_.where(), hf,
               weight->format);
      used_.insert(hf);
    }
    return weight;
  }

  void add(const GgufRule& rule, int64_t layer) {
    const std::string gguf = fmt::format("blk.{}.{}", layer, rule.gguf);
    const std::string hf = fmt::format("model.layers.{}.{}", layer, rule.hf);
    // kv_b is written in halves where the architecture has them.
    const bool halves = names_.find_layer("attn_k_b.weight") != nullptr;
    if (rule.gguf == "attn_kv_b.weight" && halves) return;
    switch (rule.layout) {
      case GgufLayout::same:
        return add_same(gguf, hf);
      case GgufLayout::query_rows:
        return add_interleaved(gguf, hf, integer("num_attention_heads"));
      case GgufLayout::key_rows:
        return add_interleaved(gguf, hf, integer("num_key_value_heads"));
      case GgufLayout::experts:
        return add_experts(gguf, hf);
      case GgufLayout::gate_up:
        return;  // read only
      case GgufLayout::mla_k:
      case GgufLayout::mla_v:
        return add_half(gguf, hf, rule.layout == GgufLayout::mla_k);
      case GgufLayout::row:
        if (const StoredWeight* weight = take(hf))
          put(gguf, reshaped(*weight, {weight->columns()}));
    }
  }

  void add_interleaved(const std::string& gguf, const std::string& hf, int64_t heads) {
    const StoredWeight* weight = take(hf);
    if (weight == nullptr) return;
    const bool vector = weight->shape.size() == 1;
    const int64_t rows = vector ? weight->columns() : weight->rows();
    UM_CHECK(heads > 0 && rows % heads == 0 && rows / heads % 2 == 0,
             "{}: tensor {}: {} rows for {} heads", source_.where(), hf, rows, heads);
    const auto order = [head = rows / heads](int64_t row) { return half_row(row, head); };
    put(gguf, vector ? reorder_values(*weight, order) : reorder_rows(*weight, order));
  }

  void add_experts(const std::string& gguf, const std::string& hf) {
    const size_t hole = hf.find("{}");
    std::vector<StoredWeight> experts;
    for (;;) {
      const std::string name =
          hf.substr(0, hole) + std::to_string(experts.size()) + hf.substr(hole + 2);
      const StoredWeight* weight = take(name);
      if (weight == nullptr) break;
      experts.push_back(*weight);
    }
    if (!experts.empty()) put(gguf, stack(experts));
  }

  /// kv_b_proj [heads · (nope + v), rank]: k is turned around, [heads, rank, nope]; v is
  /// [heads, v, rank].
  void add_half(const std::string& gguf, const std::string& hf, bool key) {
    const StoredWeight* weight = take(hf);
    if (weight == nullptr) return;
    const int64_t heads = integer("num_attention_heads"), nope = integer("qk_nope_head_dim"),
                  v = integer("v_head_dim"), rank = integer("kv_lora_rank");
    UM_CHECK(weight->shape == (std::vector<int64_t>{heads * (nope + v), rank}),
             "{}: tensor {}: shape [{}], expected [{}, {}]", source_.where(), hf,
             fmt::join(weight->shape, ", "), heads * (nope + v), rank);
    std::vector<StoredWeight> parts;
    for (int64_t head = 0; head < heads; ++head)
      parts.push_back(
          row_slice(*weight, head * (nope + v) + (key ? 0 : nope), {key ? nope : v, rank}));
    put(gguf, key ? swap_last(stack(parts)) : stack(parts));
  }

  int64_t integer(const char* key) const { return config_.at(key).get<int64_t>(); }

  const Json& config_;
  const WeightSource& source_;
  const GgufNames& names_;
  GgufPlan& plan_;
  std::set<std::string> used_;
};

/// Every tensor that the model needs has to be in the file.
void check_complete(const Json& config, const GgufPlan& plan, const WeightSource& source) {
  Json trunk = config;
  for (const char* key : {"num_nextn_predict_layers", "num_mtp_layers"}) trunk.erase(key);
  const ModelConfig resolved = load_config(trunk, source.where());
  const std::set<std::string> lost(plan.lost.begin(), plan.lost.end());
  const auto model = make_model(resolved, dry_device());
  for (const auto& param : model->params().all())
    for (const Piece& piece : param->pieces) {
      source.at(piece.name);
      UM_CHECK(!lost.contains(piece.name),
               "{}: tensor {}: GGUF files of architecture {} have no place for it", source.where(),
               piece.name, plan.architecture);
    }
}

GgufPlan make_plan(const Json& raw, const WeightSource& source, const std::string& name) {
  const Json config = canonical_config(raw, source);
  GgufPlan plan;
  plan.architecture = gguf_architecture(config, source.where());
  plan.metadata = gguf_metadata(config, raw, plan.architecture, name);
  if (const auto factors = rope_factors(config)) {
    GgufOutput output;
    output.spec.name = "rope_freqs.weight";
    output.spec.shape = output.weight.shape = {std::ssize(*factors)};
    output.weight.read = [values = *factors](int64_t, int64_t count, float* out) {
      if (count > 0) std::copy(values.begin(), values.end(), out);
    };
    plan.tensors.push_back(std::move(output));
  }
  Export(config, source, *find_gguf_names(plan.architecture), plan).run();
  check_complete(raw, plan, source);
  return plan;
}

bool always_wide(const GgufOutput& output) {
  const std::string& name = output.spec.name;
  if (output.spec.shape.size() < 2) return true;
  // Small ones that decide much: routers, sinks, openPangu-2.0's mixtures of streams and
  // convolutions.
  for (const char* small :
       {".ffn_gate_inp.", ".attn_sink_", ".attn_param_sink_", "_mhc_phi.", "_conv."})
    if (name.find(small) != std::string::npos) return true;
  return false;
}

BlockType stored_type(const StoredWeight& weight) {
  if (!weight.exact) return BlockType::bf16;
  if (weight.dtype == DType::bf16) return BlockType::bf16;
  return weight.dtype == DType::f16 ? BlockType::f16 : BlockType::f32;
}

BlockType fitting(BlockType type, const GgufOutput& output) {
  const int64_t columns = output.weight.columns();
  const auto fits = [&](BlockType t) {
    return columns % static_cast<int64_t>(block_format(t).elements) == 0;
  };
  const bool outer = output.spec.name == "token_embd.weight" || output.spec.name == "output.weight";
  if (outer && (type == BlockType::q4_0 || type == BlockType::q4_k)) type = BlockType::q8_0;
  const bool large_blocks = type == BlockType::q4_k || type == BlockType::q6_k;
  if (large_blocks && !fits(type)) type = BlockType::q8_0;
  return fits(type) ? type : BlockType::f16;
}

}  // namespace

GgufPlan plan_gguf(const Json& raw, const WeightSource& source, const std::string& name) {
  try {
    return make_plan(raw, source, name);
  } catch (const Json::exception& error) {
    fail("{}: config.json: {}", source.where(), error.what());
  }
}

void choose_types(GgufPlan& plan, std::optional<BlockType> type) {
  for (GgufOutput& output : plan.tensors)
    output.spec.type = always_wide(output)
                           ? BlockType::f32
                           : fitting(type.value_or(stored_type(output.weight)), output);
}

void write_values(const GgufOutput& output, const GgufSink& sink) {
  const StoredWeight& weight = output.weight;
  const BlockFormat& format = block_format(output.spec.type);
  const int64_t columns = weight.columns(), rows = weight.rows();
  const int64_t step = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, columns));
  const auto row_bytes = static_cast<size_t>(columns) / format.elements * format.bytes;
  std::vector<float> wide(static_cast<size_t>(std::min(step, rows) * columns));
  std::vector<std::byte> packed(static_cast<size_t>(std::min(step, rows)) * row_bytes);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    weight.read(row, count, wide.data());
    std::string fault;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < count; ++r) {
      try {
        encode_blocks(format.type, wide.data() + r * columns,
                      packed.data() + static_cast<size_t>(r) * row_bytes,
                      static_cast<size_t>(columns));
      } catch (const Error& error) {
#pragma omp critical
        fault = error.what();
      }
    }
    UM_CHECK(fault.empty(), "tensor {}: {}", quote(output.spec.name), fault);
    sink(std::span(packed).first(static_cast<size_t>(count) * row_bytes));
  }
}

}  // namespace um
