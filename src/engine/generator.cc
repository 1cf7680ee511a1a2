// See generator.h.
#include "engine/generator.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>

#include "core/json.h"
#include "engine/penalties.h"
#include "engine/text_stream.h"

namespace um {
namespace {

/// Rows of one prefill forward: enough for full-speed matmuls, few enough to bound the memory.
constexpr int64_t kPrefillRows = 512;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void check_prompt(const Sequence& sequence, const std::vector<int32_t>& prompt) {
  const int64_t vocab = sequence.model().config().vocab;
  UM_CHECK(!prompt.empty(), "the prompt has no tokens");
  for (const int32_t id : prompt)
    UM_CHECK(id >= 0 && id < vocab,
             "the prompt has token {}, the model's vocabulary {}: they do not belong together", id,
             vocab);
  UM_CHECK(static_cast<int64_t>(prompt.size()) < sequence.capacity(),
           "the prompt has {} tokens, the context holds {} with the answer", prompt.size(),
           sequence.capacity());
}

/// One of an array's or a single id's.
void add_ids(const Json& value, const std::string& where, int64_t vocab,
             std::vector<int32_t>& ids) {
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    UM_CHECK(id.is_number_integer() && id >= 0 && id < vocab,
             "{}: eos_token_id: expected a token id below {}, found {}", where, vocab,
             describe(id));
    if (std::find(ids.begin(), ids.end(), id.get<int32_t>()) == ids.end())
      ids.push_back(id.get<int32_t>());
  }
}

}  // namespace

Sequence::Sequence(const Model& model, int64_t capacity)
    : model_(model),
      capacity_(std::clamp<int64_t>(capacity, 1, model.config().max_positions)),
      pool_(model.make_pool(KvPool::pages_for(capacity_))),
      pages_(static_cast<size_t>(pool_.pages())) {
  std::iota(pages_.begin(), pages_.end(), 0);
}

int64_t Sequence::keep_common(std::span<const int32_t> ids) {
  const auto most = static_cast<size_t>(prompt_rows_);
  size_t common = 0;
  while (common + 1 < ids.size() && common < most && ids[common] == ids_[common]) ++common;
  ids_.resize(common);
  prompt_rows_ = static_cast<int64_t>(common);
  return prompt_rows_;
}

std::vector<float> Sequence::run(std::span<const int32_t> ids, bool prompt) {
  UM_CHECK(!ids.empty(), "a sequence is continued by at least one token");
  UM_CHECK(length() + static_cast<int64_t>(ids.size()) <= capacity(),
           "the context is full: {} tokens, it holds {}", length() + std::ssize(ids), capacity());
  Device& device = model_.device();
  Tensor last;
  while (!ids.empty()) {
    const auto rows = static_cast<int64_t>(std::min<size_t>(ids.size(), kPrefillRows));
    const auto chunk = ids.first(static_cast<size_t>(rows));
    const KvSequence part{pages_, length(), rows, prompt};
    const KvView view = KvView::make(pool_, {&part, 1});
    const SequenceRows layout{length(), rows};
    const TrunkOutput out = model_.trunk(Tensor::from(device, {rows}, chunk),
                                         Ragged::batch(device, {&layout, 1}), {.cache = &view});
    if (prompt && prompt_rows_ == length()) prompt_rows_ += rows;
    ids_.insert(ids_.end(), chunk.begin(), chunk.end());
    last = out.hidden.row_range(rows - 1, rows);
    ids = ids.subspan(chunk.size());
  }
  return model_.logits(last).to_vector();
}

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
      return "eos";
    case FinishReason::stop:
      return "stop";
    case FinishReason::max_tokens:
      return "length";
    case FinishReason::context:
      return "context";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::error:
      break;
  }
  return "error";
}

double Generation::prefill_tokens_per_s() const {
  return prefill_s > 0 ? static_cast<double>(prompt_tokens - reused_tokens) / prefill_s : 0;
}

double Generation::decode_tokens_per_s() const {
  return decode_s > 0 ? static_cast<double>(decoded) / decode_s : 0;
}

Generation generate(Sequence& sequence, const Tokenizer* tokenizer,
                    const std::vector<int32_t>& prompt, const GenerateOptions& options,
                    const TokenCallback& on_token) {
  options.sampling.check();
  check_prompt(sequence, prompt);
  UM_CHECK(tokenizer != nullptr || options.stop.empty(), "stop strings need a tokenizer");
  std::optional<TextStream> stream;
  if (tokenizer != nullptr) stream.emplace(*tokenizer, prompt, options.stop, options.skip_special);
  Generation result;
  const auto show = [&](int32_t id, const std::string& text) {
    result.text += text;
    return !on_token || on_token(id, text);
  };

  result.prompt_tokens = std::ssize(prompt);
  result.reused_tokens = sequence.keep_common(prompt);
  const Stopwatch prefill;
  std::vector<float> logits =
      sequence.append(std::span(prompt).subspan(static_cast<size_t>(result.reused_tokens)));
  result.prefill_s = prefill.seconds();

  const RandomStream random(options.seed, hash_name("sampler"));
  Penalties penalties(options.sampling, prompt, sequence.model().config().vocab);
  const Stopwatch decode;
  while (std::ssize(result.tokens) < options.max_tokens) {
    penalties.apply(logits);
    const int32_t id = sample(logits, options.sampling, random, result.tokens.size());
    if (std::find(options.eos.begin(), options.eos.end(), id) != options.eos.end()) {
      result.reason = FinishReason::eos;
      break;
    }
    result.tokens.push_back(id);
    penalties.add(id);
    if (!show(id, stream ? stream->push(id) : std::string())) {
      result.reason = FinishReason::cancelled;
      break;
    }
    if (stream && stream->stopped()) {
      result.reason = FinishReason::stop;
      break;
    }
    if (std::ssize(result.tokens) == options.max_tokens) break;
    if (sequence.length() == sequence.capacity()) {
      result.reason = FinishReason::context;
      break;
    }
    logits = sequence.append_generated(std::span(&id, 1));
    ++result.decoded;
  }
  result.decode_s = decode.seconds();
  if (stream && !stream->stopped()) {
    const std::string rest = stream->finish();
    if (!rest.empty()) show(-1, rest);
  }
  return result;
}

GenerationDefaults generation_defaults(const ModelConfig& config,
                                       const std::filesystem::path& directory) {
  GenerationDefaults defaults;
  for (const int64_t id : config.eos) defaults.eos.push_back(static_cast<int32_t>(id));
  const auto path = directory / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return defaults;
  const Json json = read_json_file(path);
  const JsonObject object(json, path.string());
  if (const Json* eos = object.find("eos_token_id"))
    add_ids(*eos, path.string(), config.vocab, defaults.eos);
  if (object.boolean_or("do_sample", false)) {
    SamplingOptions& sampling = defaults.sampling;
    defaults.has_sampling = true;
    sampling.temperature = object.number_or("temperature", 1.0, 0, 1000);
    sampling.top_k = object.integer_or("top_k", 0, 0);
    sampling.top_p = object.number_or("top_p", 1.0, 1e-9, 1);
    sampling.min_p = object.number_or("min_p", 0.0, 0, 1);
    sampling.typical_p = object.number_or("typical_p", 1.0, 1e-9, 1);
    sampling.repetition_penalty = object.number_or("repetition_penalty", 1.0, 0.01, 100);
  }
  return defaults;
}

}  // namespace um
