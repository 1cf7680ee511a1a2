// The fields that chat and plain completions share (see request.h).
#include <charconv>

#include "core/ordered_json.h"
#include "core/stop_scope.h"
#include "server/field_reader.h"
#include "server/request.h"
#include "text/utf8.h"

namespace um {
namespace {

/// Fields that change the answer and that we cannot honour: refused unless they have the value that
/// means nothing.
void refuse_unsupported(const Json& body) {
  struct Neutral {
    const char* name;
    double value;
  };
  static constexpr Neutral kNumbers[] = {{"length_penalty", 1}, {"dynatemp_range", 0},
                                         {"mirostat", 0},       {"xtc_probability", 0},
                                         {"dry_multiplier", 0}, {"top_n_sigma", -1}};
  for (const auto& [name, value] : kNumbers) {
    const Json* json = field_of(body, name);
    if (json != nullptr && !(json->is_number() && json->get<double>() == value))
      bad_field(name, "not supported by this server");
  }
  refuse_fields(body, {"grammar", "ebnf", "lora", "lora_path", "prompt_logprobs", "audio",
                       "structural_tag", "chat_template"});
  const Json* modalities = field_of(body, "modalities");
  if (modalities != nullptr && *modalities != Json::array({"text"}))
    bad_field("modalities", "this server answers in text: expected [\"text\"]");
  for (const char* name : {"use_beam_search", "return_hidden_states", "web_search_options"}) {
    const Json* json = field_of(body, name);
    if (json != nullptr && *json != false) bad_field(name, "not supported by this server");
  }
}

void read_stream(const Json& body, GenerationParams& params) {
  read_field(body, "stream", params.stream);
  const Json* options = field_of(body, "stream_options");
  if (options == nullptr) return;
  if (!options->is_object())
    bad_field("stream_options", "expected an object, found {}", describe(*options));
  if (!params.stream) bad_field("stream_options", "only with \"stream\": true");
  read_field_of("stream_options", *options, "include_usage", params.include_usage);
  read_field_of("stream_options", *options, "continuous_usage_stats", params.continuous_usage);
}

void read_sampling(const Json& body, SamplingOptions& sampling) {
  read_field(body, "temperature", sampling.temperature, 0, 100);
  read_field(body, "top_p", sampling.top_p, 0, 1);
  read_field(body, "min_p", sampling.min_p, 0, 1);
  read_field(body, "top_k", sampling.top_k, -1, int64_t{1} << 40);
  read_field(body, "typical_p", sampling.typical_p, 1e-9, 1);
  read_field(body, "frequency_penalty", sampling.frequency_penalty, -2, 2);
  read_field(body, "presence_penalty", sampling.presence_penalty, -2, 2);
  for (const char* name : {"repeat_penalty", "repetition_penalty"})
    read_field(body, name, sampling.repetition_penalty, 0.01, 100);
  read_field(body, "loop_penalty", sampling.loop_penalty, 0, 1000);
  sampling.top_k = std::max<int64_t>(sampling.top_k, 0);  // -1 is vLLM's "all"
  if (sampling.top_p == 0) sampling.top_p = 1e-9;         // the most likely token alone
}

/// OpenAI's {"id": bias}, or llama.cpp's [[id, bias], …].
std::vector<TokenBias> read_logit_bias(const Json& body, int64_t vocab) {
  const std::string field = "logit_bias";
  const Json* json = field_of(body, field);
  std::vector<TokenBias> biases;
  if (json == nullptr) return biases;
  const auto add = [&](int64_t id, const Json& bias) {
    const double value = bias == false ? -100.0 : bias.is_number() ? bias.get<double>() : 1e9;
    if (id < 0 || id >= vocab) bad_field(field, "expected token ids below {}, found {}", vocab, id);
    if (!(value >= -100 && value <= 100))
      bad_field(field, "expected biases from -100 to 100, found {}", describe(bias));
    biases.push_back({static_cast<int32_t>(id), static_cast<float>(value)});
  };
  if ((!json->is_object() && !json->is_array()) || json->size() > 1024)
    bad_field(field, "expected an object of at most 1024 biases, found {}", describe(*json));
  for (const auto& [key, value] : json->items()) {
    if (json->is_array()) {
      if (!value.is_array() || value.size() != 2 || !value[0].is_number_integer())
        bad_field(field, "expected [id, bias], found {}", describe(value));
      add(value[0].get<int64_t>(), value[1]);
      continue;
    }
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size())
      bad_field(field, "expected token ids, found {}", quote(key));
    add(id, value);
  }
  return biases;
}

void read_limits(const Json& body, const RequestLimits& limits, GenerationParams& params) {
  if (const Json* ids = field_of(body, "allowed_token_ids"))
    params.allowed_token_ids = parse_ids(*ids, "allowed_token_ids", limits.vocab);
  if (field_of(body, "allowed_token_ids") != nullptr && params.allowed_token_ids.empty())
    bad_field("allowed_token_ids", "expected at least one id");
  read_field(body, "bad_words", params.bad_words, 1024);
  for (const std::string& word : params.bad_words)
    if (word.empty() || word.size() > 256)
      bad_field("bad_words", "expected words of 1 to 256 bytes");
}

std::optional<uint64_t> read_seed(const Json& body) {
  const Json* json = field_of(body, "seed");
  if (json == nullptr) return std::nullopt;
  if (!json->is_number_integer())
    bad_field("seed", "expected a whole number, found {}", describe(*json));
  if (json->is_number_unsigned()) return json->get<uint64_t>();
  const int64_t seed = json->get<int64_t>();
  if (seed == -1) return std::nullopt;  // llama.cpp's "any"
  return static_cast<uint64_t>(seed);
}

}  // namespace

Body::Body(std::string_view given) {
  const std::string text = repair_json(given);
  try {
    const JsonLimits limits{.max_depth = 64, .max_values = 1'000'000};
    json = parse_json(text, "request body", limits);
    static constexpr std::string_view kShown[] = {"messages", "input", "chat_template_kwargs"};
    static constexpr std::string_view kCalls[] = {"].input."};  // of Messages: the model wrote it
    ordered = parse_ordered_json(text, "request body", limits, kShown, kCalls);
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
  if (!json.is_object())
    throw ApiError(400, fmt::format("request body: expected an object, found {}", describe(json)));
}

std::vector<int32_t> parse_ids(const Json& value, const std::string& field, int64_t vocab) {
  if (!value.is_array())
    bad_field(field, "expected a list of token ids, found {}", describe(value));
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const Json& id : value) {
    check_stop();
    if (!id.is_number_integer() || id < 0 || id >= vocab)
      bad_field(field, "expected token ids below {}, found {}", vocab, describe(id));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

GenerationParams parse_generation(const Body& given, const RequestLimits& limits, bool none_good) {
  const Json& body = given.json;
  constexpr int64_t kMaxTokens = int64_t{1} << 40;
  refuse_unsupported(body);
  GenerationParams params;
  params.sampling = limits.sampling;
  read_sampling(body, params.sampling);
  params.sampling.logit_bias = read_logit_bias(body, limits.vocab);
  params.seed = read_seed(body);
  read_field(body, "n", params.n, 1, limits.max_n);
  int64_t best_of = params.n;
  read_field(body, "best_of", best_of, 1, limits.max_n);
  if (best_of != params.n)
    bad_field("best_of", "not supported by this server, but for the same as n");
  read_field(body, "max_tokens", params.max_tokens, -1, kMaxTokens);
  read_field(body, "max_completion_tokens", params.max_tokens, -1, kMaxTokens);
  if (none_good && params.max_tokens == 0) params.max_tokens = 1;
  const bool newer = field_of(body, "max_completion_tokens") != nullptr;
  if (params.max_tokens == 0)
    bad_field(newer ? "max_completion_tokens" : "max_tokens", "expected at least 1");
  read_field(body, "min_tokens", params.min_tokens, 0, kMaxTokens);
  read_field(body, "stop", params.stop, static_cast<size_t>(limits.max_stops));
  std::erase(params.stop, std::string());
  for (const std::string& stop : params.stop)
    if (stop.size() > 1024) bad_field("stop", "a stop string has more than 1024 bytes");
  if (const Json* ids = field_of(body, "stop_token_ids"))
    params.stop_token_ids = parse_ids(*ids, "stop_token_ids", limits.vocab);
  read_limits(body, limits, params);
  for (const char* name : {"include_stop_str_in_output", "no_stop_trim"})
    read_field(body, name, params.include_stop);
  read_field(body, "ignore_eos", params.ignore_eos);
  read_field(body, "skip_special_tokens", params.skip_special);
  read_field(body, "return_token_ids", params.return_token_ids);
  for (const char* name : {"routed_experts", "return_routed_experts"})
    read_field(body, name, params.routed_experts);
  int64_t priority = 0;
  read_field(body, "priority", priority, -1'000'000, 1'000'000);
  params.priority = static_cast<int>(priority);
  params.format = parse_format(given);
  read_stream(body, params);
  return params;
}

}  // namespace um
