// See merge.h.
#include "models/merge.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/config.h"
#include "models/digests.h"
#include "models/gguf_model.h"
#include "models/model_texts.h"
#include "models/model_weights.h"
#include "text/tokenizer_hash.h"

namespace um {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr double kLeastSum = 1e-8;  // of weights that a mean is divided by
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kContextField = "max_position_embeddings";
/// Fields of a config.json that do not change what the weights compute.
constexpr const char* kFreeFields[] = {"torch_dtype",        "bos_token_id",      "eos_token_id",
                                       "pad_token_id",       "initializer_range", "init_rule",
                                       "embedding_init_std", kContextField};

void check_options(const MergeOptions& options) {
  const MergeRule& rule = options.rule;
  const std::string_view name = merge_method_name(rule.method);
  const bool slerp = rule.method == MergeMethod::slerp;
  const size_t count = options.models.size(), least = needs_base(rule.method) ? 1 : 2;
  if (slerp ? count != 2 : count < least)
    throw UsageError(fmt::format("{} takes {} {} model{}, found {}", name,
                                 slerp ? "exactly" : "at least", least, least == 1 ? "" : "s",
                                 count));
  if (needs_base(rule.method) == options.base.empty())
    throw UsageError(
        fmt::format("{} {}", name,
                    options.base.empty() ? "adds differences to a base: name it" : "has no base"));
  if (slerp ? !rule.weights.empty() : rule.weights.size() != count)
    throw UsageError(fmt::format("{}: {} weights for {} models{}", name, rule.weights.size(), count,
                                 slerp ? "; how far it goes is t" : ""));
  if (rule.method != MergeMethod::linear || !rule.normalize) return;
  double sum = 0;
  for (const double weight : rule.weights) sum += weight;
  if (std::abs(sum) < kLeastSum)
    throw UsageError("linear: the sum of the weights is 0, and the mean is divided by it");
}

/// A value of a config.json: itself where it is short.
std::string shown(const Json& value) {
  constexpr size_t kShort = 60;
  const std::string text = value.is_null() ? "not given" : to_text(value);
  return text.size() <= kShort ? text : describe(value);
}

/// "hidden_size is 64 (there 128), vocab_size is 400 (there 512)" of up to three fields.
std::string differences(const Json& one, const Json& other) {
  constexpr size_t kShown = 3;
  std::set<std::string> keys;
  for (const Json* side : {&one, &other})
    for (const auto& [key, value] : side->items()) keys.insert(key);
  for (const char* key : kFreeFields) keys.erase(key);
  std::vector<std::string> texts;
  for (const std::string& key : keys) {
    const Json a = one.value(key, Json()), b = other.value(key, Json());
    if (a != b) texts.push_back(fmt::format("{} is {} (there {})", key, shown(a), shown(b)));
  }
  const size_t more = texts.size() > kShown ? texts.size() - kShown : 0;
  texts.resize(texts.size() - more);
  return fmt::format("{}{}", fmt::join(texts, ", "),
                     more > 0 ? fmt::format(" and {} more fields", more) : "");
}

std::map<std::string, TensorSpec> by_name(const Conversion& plan) {
  std::map<std::string, TensorSpec> specs;
  for (const TensorSpec& spec : plan.tensors())
    if (!is_redundant(spec.name, plan.config())) specs.emplace(spec.name, spec);
  return specs;
}

/// The type that holds the values of both.
DType widest(DType one, DType other) {
  return one == other ? one : DType::f32;
}

/// The largest finite value of a type.
float largest(DType dtype) {
  const uint16_t bits = dtype == DType::f16 ? 0x7bff : 0x7f7f;
  float value = std::numeric_limits<float>::max();
  if (dtype != DType::f32) convert_to_f32(dtype, &bits, &value, 1);
  return value;
}

BlockType block_type_of(DType dtype) {
  return dtype == DType::f32   ? BlockType::f32
         : dtype == DType::f16 ? BlockType::f16
                               : BlockType::bf16;
}

}  // namespace

MergeOptions mean_of_deltas(const std::vector<DeltaGroup>& groups, fs::path base) {
  MergeOptions options;
  options.rule.method = MergeMethod::deltas;
  options.rule.normalize = false;
  options.base = std::move(base);
  for (const DeltaGroup& group : groups) {
    if (group.models.empty())
      throw UsageError(fmt::format("the group of lambda {} has no models", group.lambda));
    const auto count = static_cast<double>(group.models.size());
    for (const fs::path& model : group.models) {
      options.models.push_back(model);
      options.rule.weights.push_back(group.lambda / count);
    }
  }
  return options;
}

Merge::Merge(MergeOptions options, fs::path out)
    : options_(std::move(options)), out_(std::move(out)), paths_(options_.models) {
  check_options(options_);
  if (!options_.base.empty()) paths_.insert(paths_.begin(), options_.base);
  open();
  check_configs();
  plan_tensors();
  check_tokenizers();
  choose_texts();
}

/// A model may be named more than once; what is said of it is said once.
void Merge::note(std::string text) {
  if (std::ranges::find(notes_, text) == notes_.end()) notes_.push_back(std::move(text));
}

void Merge::open() {
  std::optional<BlockType> type;
  if (options_.dtype) type = block_type_of(*options_.dtype);
  for (const fs::path& path : paths_) {
    plans_.push_back(std::make_unique<Conversion>(path, out_, type));
    if (plans_.back()->from_integers())
      note(fmt::format("{}: its weights are quantised: the result has their rounding",
                       path.string()));
  }
}

void Merge::check_configs() {
  const Json expected = config_to_json(first().config());
  for (size_t i = 1; i < paths_.size(); ++i) {
    const Json found = config_to_json(plans_[i]->config());
    const std::string text = differences(found, expected);
    UM_CHECK(text.empty(), "{}: does not match {}: {}; only models of one shape can be merged",
             paths_[i].string(), paths_[0].string(), text);
  }
}

void Merge::plan_tensors() {
  std::map<std::string, TensorSpec> all = by_name(first());
  std::set<std::string> lost(first().lost_tensors().begin(), first().lost_tensors().end());
  for (size_t i = 1; i < paths_.size(); ++i) {
    const std::map<std::string, TensorSpec> here = by_name(*plans_[i]);
    for (const auto& [name, spec] : here)
      UM_CHECK(all.contains(name), "{}: tensor {}: {} does not have it", paths_[i].string(),
               quote(name), paths_[0].string());
    for (auto& [name, spec] : all) {
      const auto found = here.find(name);
      UM_CHECK(found != here.end(), "{}: tensor {} is missing; {} has it", paths_[i].string(),
               quote(name), paths_[0].string());
      UM_CHECK(found->second.shape == spec.shape, "{}: tensor {}: shape [{}], that of {} is [{}]",
               paths_[i].string(), quote(name), fmt::join(found->second.shape, ", "),
               paths_[0].string(), fmt::join(spec.shape, ", "));
      spec.dtype = widest(spec.dtype, found->second.dtype);
    }
    lost.insert(plans_[i]->lost_tensors().begin(), plans_[i]->lost_tensors().end());
  }
  for (auto& [name, spec] : all) tensors_.push_back(std::move(spec));
  if (!lost.empty())
    note(fmt::format("left out: {} tensors that are not the language model's, as {}", lost.size(),
                     quote(*lost.begin())));
}

void Merge::check_tokenizers() {
  const fs::path* known = nullptr;
  std::string hash;
  for (const fs::path& path : paths_) {
    if (!has_tokenizer(path)) {
      note(fmt::format("{}: no tokenizer: nothing but the size of its vocabulary was compared",
                       path.string()));
      continue;
    }
    const std::string here = Tokenizer::load(path).hash();
    if (known == nullptr) {
      known = &path;
      hash = here;
    }
    UM_CHECK(here == hash,
             "{}: another tokenizer ({}) than that of {} ({}): an id means another token, so a "
             "merge would know neither",
             path.string(), here, known->string(), hash);
  }
}

/// Those of the base, else of the first model; but a merge that has a model for chats can chat.
void Merge::choose_texts() {
  const auto rank = [&](const fs::path& path) {
    return !has_tokenizer(path) ? 0 : is_base_model(path) ? 1 : 2;
  };
  for (size_t i = 1; i < paths_.size(); ++i)
    if (rank(paths_[i]) > rank(paths_[texts_])) texts_ = i;
  if (texts_ > 0)
    note(fmt::format("config, tokenizer and chat template are those of {}",
                     paths_[texts_].string()));
  const int64_t context = plans_[texts_]->config().max_positions;
  for (size_t i = 0; i < paths_.size(); ++i)
    if (const int64_t here = plans_[i]->config().max_positions; here != context)
      note(fmt::format("{}: {} is {}, that of the result {}", paths_[i].string(), kContextField,
                       here, context));
}

uint64_t Merge::bytes() const {
  uint64_t sum = 0;
  for (const TensorSpec& spec : tensors_) sum += spec.byte_size();
  return sum;
}

OrderedJson Merge::record() const {
  const MergeRule& rule = options_.rule;
  const auto described = [](const fs::path& path) {
    OrderedJson json = {{"model", path.string()}};
    if (const fs::path digests = path / "digests.json"; !is_gguf(path) && path_exists(digests)) {
      const std::string text = read_file(digests);
      json["digests_crc32"] = fmt::format("{:08x}", crc32_of(std::as_bytes(std::span(text))));
    }
    return json;
  };
  OrderedJson models = OrderedJson::array();
  for (size_t m = 0; m < options_.models.size(); ++m) {
    models.push_back(described(options_.models[m]));
    if (!rule.weights.empty()) models.back()["weight"] = rule.weights[m];
  }
  OrderedJson json = {{"method", merge_method_name(rule.method)}, {"models", models}};
  if (needs_base(rule.method)) json["base"] = described(options_.base);
  if (rule.method == MergeMethod::slerp)
    json["t"] = rule.t;
  else
    json["normalize"] = rule.normalize;
  if (needs_base(rule.method)) json["lambda"] = rule.lambda;
  if (is_sparse(rule.method)) json["density"] = rule.density;
  if (is_random(rule.method)) json["seed"] = rule.seed;
  json["texts_of"] = paths_[texts_].string();
  return json;
}

void Merge::write_tensor(const TensorSpec& spec, const TensorSink& sink) const {
  std::vector<StoredWeight> models;
  for (const auto& plan : plans_) models.push_back(plan->source().at(spec.name));
  std::optional<StoredWeight> base;
  if (needs_base(options_.rule.method)) {
    base = models.front();
    models.erase(models.begin());
  }
  StoredWeight merged = merged_weight(options_.rule, spec.name, base, models);
  std::atomic<bool> beyond = false;
  const int64_t columns = merged.columns();
  merged.read = [&beyond, columns, limit = largest(spec.dtype), read = std::move(merged.read)](
                    int64_t row, int64_t count, float* out) {
    read(row, count, out);
    for (int64_t i = 0; i < count * columns; ++i)
      if (!(std::abs(out[i]) <= limit)) beyond = true;
  };
  write_weight(merged, spec.dtype, sink);
  UM_CHECK(!beyond,
           "tensor {}: merged values are not finite, or too large for {}; look at the models' "
           "(`ultramoe debug`), or take smaller weights",
           quote(spec.name), dtype_name(spec.dtype));
}

void Merge::write(const Conversion::Progress& progress) const {
  CheckpointDirectory output(out_);
  uint64_t done = 0;
  write_checkpoint(out_, tensors_, [&](const TensorSpec& spec, const TensorSink& sink) {
    write_tensor(spec, sink);
    done += spec.byte_size();
    if (progress) progress(done, bytes());
  });
  const Conversion& texts = *plans_[texts_];
  texts.write_texts();
  // The weights' type may be another model's.
  const auto embedding = std::ranges::find(tensors_, kEmbedding, &TensorSpec::name);
  if (embedding != tensors_.end()) {
    Json config = read_json_file(out_ / "config.json");
    config["torch_dtype"] = dtype_config_name(embedding->dtype);
    write_file_atomic(out_ / "config.json", config.dump(2) + "\n");
  }
  write_file_atomic(out_ / kMergeFile,
                    record().dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  output.seal();
  output.keep();
}

}  // namespace um
