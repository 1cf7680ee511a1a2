// See convert.h.
#include "models/convert.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/gguf_model.h"
#include "models/mapped.h"
#include "models/model_weights.h"
#include "text/chat_template.h"
#include "text/tokenizer_hash.h"
#include "text/vocabulary_export.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr int64_t kChunk = int64_t{1} << 20;  // elements converted at a time
constexpr size_t kGgufEnds = 3;               // eos, eot, eom
constexpr const char* kOwnEnd = "</s>";  // of the SentencePiece models that are made of GGUF files

Json config_of(const fs::path& from) {
  if (is_gguf(from)) return gguf_config(GgufModel(from));
  Json config = read_json_file(from / "config.json", kMaxConfigBytes);
  UM_CHECK(config.is_object(), "{}: config.json: expected an object", from.string());
  config.erase("quantization_config");  // converted when they are read
  return config;
}

DType dtype_of_block(BlockType type) {
  switch (type) {
    case BlockType::f32:
      return DType::f32;
    case BlockType::f16:
      return DType::f16;
    case BlockType::bf16:
      return DType::bf16;
    default:
      fail("{}: safetensors files are written in F32, F16 or BF16", block_format(type).name);
  }
}

/// Whether every value survives in the narrower type.
bool holds_all(const StoredWeight& weight, DType narrow) {
  const int64_t columns = weight.columns(), rows = weight.rows();
  std::vector<float> values(static_cast<size_t>(columns)), back(values.size());
  std::vector<uint16_t> bits(values.size());
  for (int64_t row = 0; row < rows; ++row) {
    weight.read(row, 1, values.data());
    convert_from_f32(narrow, values.data(), bits.data(), values.size());
    convert_to_f32(narrow, bits.data(), back.data(), values.size());
    if (std::memcmp(values.data(), back.data(), values.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

/// GGUF keeps vectors and routers in F32 whatever the model is in; they go back to its type if that
/// changes nothing. The router's correction bias is F32 as published.
DType published_type(const std::string& name, const StoredWeight& weight, DType of_model) {
  if (!weight.exact) return DType::bf16;
  if (weight.dtype != DType::f32 || of_model == DType::f32) return weight.dtype;
  if (name.ends_with("e_score_correction_bias")) return DType::f32;
  return holds_all(weight, of_model) ? of_model : DType::f32;
}

/// Whether a value of the one format is always a value of the other. Blocks decode to F32.
bool widens(std::string_view from, std::string_view to) {
  const bool beyond = from.ends_with("64") || from == "I32" || from == "U32";
  return from == to || (to == "F32" && !beyond);
}

}  // namespace

std::string model_name(const fs::path& path) {
  const fs::path clean = fs::absolute(path).lexically_normal();
  const fs::path named = clean.has_filename() ? clean : clean.parent_path();
  return (is_gguf(named) ? named.stem() : named.filename()).string();
}

void write_weight(const StoredWeight& weight, DType dtype, const TensorSink& sink) {
  if (weight.dtype == dtype && !weight.plain.empty()) return sink(weight.plain);
  const int64_t columns = weight.columns(), rows = weight.rows();
  const int64_t step = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, columns));
  std::vector<float> wide(static_cast<size_t>(std::min(step, rows) * columns));
  std::vector<std::byte> narrow(wide.size() * dtype_size(dtype));
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < count; ++r) weight.read(row + r, 1, wide.data() + r * columns);
    const auto elements = static_cast<size_t>(count * columns);
    convert_from_f32(dtype, wide.data(), narrow.data(), elements);
    sink(std::span(narrow).first(elements * dtype_size(dtype)));
  }
}

Conversion::Conversion(const fs::path& from, const fs::path& to, std::optional<BlockType> type,
                       std::optional<IntegerFiles> packed)
    : from_(from),
      to_(to),
      to_gguf_(to.extension() == ".gguf"),
      config_(config_of(from)),
      stored_(load_config(config_, from.string())),
      source_(open_model_weights(from, stored_)),
      packed_(std::move(packed)) {
  UM_CHECK(!packed_ || !to_gguf_,
           "{}: {} is a form of directories; for a GGUF file choose q8_0, q6_k, q4_k or q4_0",
           to.string(), format_name(packed_->formats.matrices));
  UM_CHECK(!type || can_encode(*type), "{}: this type can be read, not written",
           block_format(*type).name);
  complete_ids();
  if (to_gguf_)
    plan_gguf_file(type);
  else
    plan_directory(type);
}

/// Gives the config the ids that only the tokenizer or generation_config.json has.
void Conversion::complete_ids() {
  if (!has_tokenizer(from_)) return;
  const Tokenizer tokenizer = Tokenizer::load(from_);
  const ChatTemplate chat = ChatTemplate::load(from_, tokenizer);
  ends_ = find_ends(load_config(config_, source_.where()), tokenizer, from_, &chat);
  stops_ = find_stops(from_);
  add_token_ids(config_, tokenizer);
}

void Conversion::count(const StoredWeight& weight, std::string_view format, uint64_t bytes,
                       bool exact) {
  ConvertStep& step =
      steps_[{weight.format.empty() ? "computed" : weight.format, std::string(format)}];
  ++step.tensors;
  step.bytes += bytes;
  step.exact = step.exact && exact;
}

void Conversion::plan_gguf_file(std::optional<BlockType> type) {
  gguf_ = plan_gguf(config_, source_, model_name(from_));
  choose_types(gguf_, type);
  for (const GgufOutput& output : gguf_.tensors) {
    const std::string_view format = block_format(output.spec.type).name;
    count(output.weight, format, output.spec.byte_size(), widens(output.weight.format, format));
  }
  lost_ = gguf_.lost;
  if (const size_t ends = ends_for_others().size(); ends > kGgufEnds)
    notes_.push_back(
        fmt::format("{} tokens end this model's texts, other programs find {} of them in the file",
                    ends, kGgufEnds));
  if (gguf_.architecture.starts_with("pangu-") && gguf_.architecture != "pangu-embedded")
    notes_.push_back(fmt::format(
        "architecture {} is ours: llama.cpp does not know it, ultramoe does", gguf_.architecture));
}

void Conversion::plan_directory(std::optional<BlockType> type) {
  const ModelConfig resolved = load_config(config_, source_.where());
  // Two variables: gcc 12 takes an optional one for uninitialised.
  const bool chosen = type.has_value();
  const DType wanted = chosen ? dtype_of_block(*type) : resolved.dtype;
  for (const auto& [name, weight] : source_.tensors()) {
    if (!name.starts_with("model.") && name != "lm_head.weight") {
      lost_.push_back(name);
      continue;
    }
    UM_CHECK(weight.read, "{}: tensor {}: {} cannot be converted", source_.where(), name,
             weight.format);
    if (packed_ && is_packed(name, weight, packed_format(name)) && !is_redundant(name, stored_)) {
      plan_packed(name, weight);
      continue;
    }
    if (packed_ && weight.shape.size() == 2 && name.ends_with(".weight"))
      unpacked_.push_back(name.substr(0, name.rfind('.')));
    TensorSpec spec{name, published_type(name, weight, resolved.dtype), weight.shape};
    if (chosen && !name.ends_with("e_score_correction_bias")) spec.dtype = wanted;
    const std::string_view format = dtype_file_name(spec.dtype);
    count(weight, format, spec.byte_size(), widens(weight.format, format));
    // Values were looked at: going back to the model's type loses nothing.
    if (!chosen && weight.exact) steps_[{weight.format, std::string(format)}].exact = true;
    tensors_.push_back(std::move(spec));
  }
  if (packed_) {
    UM_CHECK(!packed_parts_.empty(), "{}: no matrix has rows of whole groups of {}",
             source_.where(), packed_->formats.matrices.group);
    if (packed_->form != IntegerForm::modelslim)
      config_["quantization_config"] = packed_config(*packed_, unpacked_);
  }
  config_.erase("dtype");
  const bool quantised = !source_.tensors().empty() && !source_.tensors().begin()->second.exact;
  config_["torch_dtype"] = dtype_config_name(!chosen && quantised ? DType::bf16 : wanted);
}

void Conversion::plan_packed(const std::string& name, const StoredWeight& weight) {
  const RowFormat format = packed_format(name);
  uint64_t bytes = 0;
  for (TensorSpec& part : packed_specs(name, weight, format, packed_->form)) {
    bytes += part.byte_size();
    packed_parts_[part.name] = name;
    tensors_.push_back(std::move(part));
  }
  count(weight, format_name(format), bytes, weight.codes.format == format);
}

uint64_t Conversion::bytes() const {
  uint64_t total = 0;
  for (const auto& [types, step] : steps_) total += step.bytes;
  return total;
}

/// What the keys of GGUF name as ends, which do not tell those of texts from those of turns. No
/// turn ends in what only continues texts.
std::vector<int32_t> Conversion::ends_for_others() const {
  return is_base_model(from_) ? ends_.text : ends_.turn;
}

/// The ends of texts without the one that the file's SentencePiece model has in any case: a config
/// that is made of the file says no more than the one it was made of.
std::vector<int32_t> Conversion::stated_ends(const Tokenizer& tokenizer) const {
  std::vector<int32_t> ends = ends_.text;
  if (ends_.own >= 0 && tokenizer.piece(ends_.own) == kOwnEnd && tokenizer.eos_id() >= 0)
    std::erase(ends, ends_.own);
  return ends;
}

/// The tokenizer's tables, with what begins and ends the model's texts.
Vocabulary Conversion::vocabulary_for(const Tokenizer& tokenizer, int64_t rows) const {
  Vocabulary v = vocabulary_of(tokenizer, rows);
  const ModelConfig config = load_config(config_, source_.where());
  const auto role = [&](int32_t& id, int64_t stated) {
    if (id < 0 && stated >= 0) id = static_cast<int32_t>(stated);
    if (id >= rows) id = -1;
  };
  role(v.bos, config.bos);
  role(v.pad, config.pad);
  role(v.unk, -1);
  int32_t* const places[kGgufEnds] = {&v.eos, &v.eot, &v.eom};
  const std::vector<int32_t> ends = ends_for_others();
  for (size_t i = 0; i < kGgufEnds; ++i) *places[i] = i < ends.size() ? ends[i] : -1;
  const ChatSources chat = find_chat_sources(from_);
  v.chat_template = chat.main;
  v.named_templates = chat.named;
  return v;
}

void Conversion::write_gguf_file(const std::function<void(uint64_t)>& done) const {
  std::vector<GgufEntry> metadata = gguf_.metadata;
  const Tokenizer tokenizer = Tokenizer::load(from_);
  const int64_t rows = source_.at("model.embed_tokens.weight").shape.at(0);
  for (GgufEntry& entry : vocabulary_entries(vocabulary_for(tokenizer, rows)))
    metadata.push_back(std::move(entry));
  metadata.push_back({kTextEndsKey, stated_ends(tokenizer)});
  for (GgufEntry& entry : sampling_entries(from_)) metadata.push_back(std::move(entry));
  if (!stops_.empty()) metadata.push_back({kStopsKey, stops_});
  std::map<std::string_view, const GgufOutput*> by_name;
  std::vector<GgufTensorSpec> specs;
  for (const GgufOutput& output : gguf_.tensors) {
    specs.push_back(output.spec);
    by_name[output.spec.name] = &output;
  }
  write_gguf(to_, metadata, specs, [&](const GgufTensorSpec& spec, const GgufSink& sink) {
    write_values(*by_name.at(spec.name), sink);
    done(spec.byte_size());
  });
}

int64_t Conversion::values() const {
  int64_t sum = 0;
  for (const auto& [name, weight] : source_.tensors()) sum += weight.rows() * weight.columns();
  return sum;
}

bool Conversion::from_integers() const {
  return std::ranges::any_of(source_.tensors(),
                             [](const auto& entry) { return !entry.second.exact; });
}

const std::string* Conversion::packed_matrix(const std::string& part) const {
  const auto found = packed_parts_.find(part);
  return found == packed_parts_.end() ? nullptr : &found->second;
}

void Conversion::write_plain(const TensorSpec& tensor, const TensorSink& sink) const {
  write_weight(source_.at(tensor.name), tensor.dtype, sink);
}

void Conversion::write_texts() const {
  copy_model_texts(from_, to_);
  write_file_atomic(to_ / "config.json", config_.dump(2) + "\n");
  write_generation_config(to_, config_, stops_);
  if (packed_ && packed_->form == IntegerForm::modelslim)
    write_file_atomic(to_ / "quant_model_description.json", to_text(description(), 2) + "\n");
}

/// What ModelSlim says of each tensor.
Json Conversion::description() const {
  Json types = {{"model_quant_type", "W8A8_DYNAMIC"}};
  for (const TensorSpec& tensor : tensors_)
    types[tensor.name] = packed_matrix(tensor.name) != nullptr ? "W8A8_DYNAMIC" : "FLOAT";
  return types;
}

void Conversion::write_directory(uint64_t shard_bytes,
                                 const std::function<void(uint64_t)>& done) const {
  CheckpointDirectory output(to_);
  PackWriter packs;
  write_checkpoint(
      to_, tensors_,
      [&](const TensorSpec& spec, const TensorSink& sink) {
        if (const std::string* matrix = packed_matrix(spec.name))
          packs.write(*matrix, source_.at(*matrix), packed_format(*matrix), spec, sink);
        else
          write_plain(spec, sink);
        done(spec.byte_size());
      },
      shard_bytes);
  write_texts();
  output.seal();
  output.keep();
}

void Conversion::check_target() const {
  UM_CHECK(!path_exists(to_gguf_ ? to_ : to_ / "config.json") || is_unfinished(to_),
           "{}: there is a model here; name a new one or remove it", to_.string());
}

void Conversion::write_mapped(const WeightTypes& weights, const Progress& progress) const {
  check_target();
  CheckpointDirectory output(to_);
  um::write_mapped(stored_, weights, source_, to_, progress);
  write_texts();
  output.seal();
  output.keep();
}

void Conversion::write(uint64_t shard_bytes, const Progress& progress) const {
  check_target();
  uint64_t written = 0;
  const auto done = [&](uint64_t bytes) {
    written += bytes;
    if (progress) progress(written, this->bytes());
  };
  if (to_gguf_)
    write_gguf_file(done);
  else
    write_directory(shard_bytes, done);
}

}  // namespace um
