// The routes that need no generation: models, embeddings, tokens, template, health, metrics.
#include <fmt/chrono.h>

#include <cmath>
#include <cstring>
#include <ctime>

#include "core/error.h"
#include "core/stop_scope.h"
#include "engine/score.h"
#include "models/count.h"
#include "server/api_error.h"
#include "server/field_reader.h"
#include "server/ignored_fields.h"
#include "server/prompt.h"
#include "server/routes.h"
#include "text/utf8.h"

namespace um {
namespace {

constexpr size_t kMaxInputs = 2048;

/// The inputs of an embeddings request as ids.
std::vector<std::vector<int32_t>> parse_inputs(const Service& service, const Json& body) {
  const Json* input = field_of(body, "input");
  if (input == nullptr) bad_field("input", "missing");
  const Tokenizer tokenizer = service.bounded_tokenizer();
  const auto one = [&](const Json& item) {
    if (!item.is_string()) return parse_ids(item, "input", service.limits().vocab);
    return tokenizer.encode(item.get<std::string>(),
                            {.add_bos = tokenizer.add_bos(), .add_eos = tokenizer.add_eos()});
  };
  if (!input->is_array() || (!input->empty() && (*input)[0].is_number())) return {one(*input)};
  if (input->empty() || input->size() > kMaxInputs)
    bad_field("input", "expected 1 to {} inputs, found {}", kMaxInputs, input->size());
  std::vector<std::vector<int32_t>> inputs;
  for (const Json& item : *input) inputs.push_back(one(item));
  return inputs;
}

/// The first `dimensions` values, of length 1 together.
std::vector<float> unit_vector(std::vector<float> vector, int64_t dimensions) {
  vector.resize(static_cast<size_t>(dimensions));
  double norm = 0;
  for (const float value : vector) norm += static_cast<double>(value) * value;
  const auto scale = static_cast<float>(norm > 0 ? 1 / std::sqrt(norm) : 0);
  for (float& value : vector) value *= scale;
  return vector;
}

/// A token's text, or where it is no whole characters its bytes in a list, as llama.cpp has it.
Json piece_of(const Tokenizer& tokenizer, int32_t id) {
  const std::string bytes = token_bytes(tokenizer, id);
  if (is_utf8(bytes)) return bytes;
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

/// The model and a list of it as Anthropic's API has them.
Json messages_model(const Service& service) {
  const std::time_t started = service.started_at();
  return {{"type", "model"},
          {"id", service.name()},
          {"display_name", service.name()},
          {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(started))},
          {"lifecycle", "active"},
          {"max_input_tokens", service.context()},
          {"max_tokens", service.context()}};
}

Json messages_list(const Json& model) {
  return {{"data", Json::array({model})},
          {"has_more", false},
          {"first_id", model["id"]},
          {"last_id", model["id"]}};
}

/// A chat request that is only there for its prompt.
ChatRequest parse_for_prompt(const Service& service, const HttpRequest& request) {
  return parse_chat_request(Body(request.body), service.limits());
}

}  // namespace

void route_models(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const ModelConfig& config = service.model().config();
  const ParameterCount count = count_parameters(config);
  Json model = {{"id", service.name()},
                {"object", "model"},
                {"created", service.started_at()},
                {"owned_by", "ultramoe"},
                {"root", service.name()},
                {"max_model_len", service.context()},
                {"meta",
                 {{"n_ctx_train", config.max_positions},
                  {"n_params", count.total_with_mtp()},
                  {"n_params_active", count.active()},
                  {"n_vocab", config.vocab},
                  {"n_embd", config.hidden},
                  {"mtp_heads", service.model().mtp_heads()},
                  {"base", service.base_model()},
                  {"thinking", service.can_think()},
                  {"thinking_switch", service.can_switch_thinking()}}}};
  if (service.base_model()) model["meta"]["description"] = kBaseModel;
  const SamplingOptions& sampling = service.limits().sampling;
  model["meta"]["sampling"] = {{"temperature", sampling.temperature},
                               {"top_k", sampling.top_k},
                               {"top_p", sampling.top_p},
                               {"min_p", sampling.min_p},
                               {"repetition_penalty", sampling.repetition_penalty}};
  if (service.can_switch_thinking()) model["meta"]["mode"] = service.options().mode;
  const std::string prefix = "/models/";
  const size_t at = request.path.find(prefix);
  const bool list = at == std::string::npos;
  const std::string asked = list ? service.name() : request.path.substr(at + prefix.size());
  if (asked != service.name())
    throw ApiError(404, fmt::format("there is no model {}", quote(asked)), "model",
                   "model_not_found");
  if (speaks_messages(request)) {
    const Json own = messages_model(service);
    return set_json(response, list ? messages_list(own) : own);
  }
  set_json(response, list ? Json{{"object", "list"}, {"data", Json::array({model})}} : model);
}

void route_embeddings(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Json body = std::move(Body(request.body).json);
  check_ignored_fields(body, Api::kTexts);
  std::string format = "float";
  read_field(body, "encoding_format", format);
  if (format != "float" && format != "base64")
    bad_field("encoding_format", "{}: expected float or base64", quote(format));
  int64_t dimensions = service.model().config().hidden;
  read_field(body, "dimensions", dimensions, 1, dimensions);
  int64_t tokens = 0;
  Json data = Json::array();
  std::vector<Reading> texts;
  std::vector<std::shared_ptr<StateSum>> sums;
  for (std::vector<int32_t>& ids : parse_inputs(service, body)) {
    sums.push_back(std::make_shared<StateSum>());
    texts.push_back({std::move(ids), "input", sums.back()});
  }
  read_texts(service, request, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<float> vector = unit_vector(sums[i]->sum(), dimensions);
    for (const float value : vector)
      UM_CHECK(std::isfinite(value), "text {}: the embedding has a value that is {}", i, value);
    tokens += std::ssize(texts[i].ids);
    Json entry = {{"object", "embedding"}, {"index", i}};
    if (format == "float") {
      entry["embedding"] = vector;
    } else {
      std::string bytes(vector.size() * sizeof(float), '\0');
      std::memcpy(bytes.data(), vector.data(), bytes.size());
      entry["embedding"] = base64(bytes);
    }
    data.push_back(std::move(entry));
  }
  response.note = [tokens] { return HttpNote{fmt::format("prompt={}", tokens)}; };
  set_json(response, {{"object", "list"},
                      {"data", std::move(data)},
                      {"model", service.name()},
                      {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
}

/// A token by its text, or null.
Json text_or_null(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? Json() : Json(tokenizer.piece(id));
}

/// Appends a JSON list of what `text` says of each id.
template <class Text>
void write_list(std::string& out, const std::vector<int32_t>& ids, Text text) {
  char before = '[';
  for (const int32_t id : ids) {
    check_stop();
    out += before;
    out += text(id);
    before = ',';
  }
  out += ids.empty() ? "[]" : "]";
}

// vLLM says `prompt`, llama.cpp says `content`; both get what they know.
void route_tokenize(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Json body = std::move(Body(request.body).json);
  check_ignored_fields(body, Api::kTexts);
  const Tokenizer& tokenizer = service.tokenizer();
  std::string prompt, content;
  read_field(body, "prompt", prompt);
  read_field(body, "content", content);
  const bool chat = field_of(body, "messages") != nullptr;
  const bool vllm = field_of(body, "prompt") != nullptr;
  bool ends = vllm, special = true, strings = false, pieces = false;
  read_field(body, "add_special_tokens", ends);
  read_field(body, "add_special", ends);
  read_field(body, "parse_special", special);
  read_field(body, "return_token_strs", strings);
  read_field(body, "with_pieces", pieces);
  if (!chat && !vllm && field_of(body, "content") == nullptr) bad_field("prompt", "missing");
  const std::vector<int32_t> ids =
      chat ? chat_prompt(service.chat_template(), tokenizer, parse_for_prompt(service, request))
           : tokenizer.encode(vllm ? prompt : content, {.add_bos = ends && tokenizer.add_bos(),
                                                        .add_eos = ends && tokenizer.add_eos(),
                                                        .parse_special = special});
  // Written as it comes: a tree of the values would take some ten times as much as the text.
  std::string out =
      fmt::format(R"({{"count":{},"max_model_len":{},"tokens":)", ids.size(), service.context());
  write_list(out, ids, [&](int32_t id) {
    return pieces ? to_text({{"id", id}, {"piece", piece_of(tokenizer, id)}}) : std::to_string(id);
  });
  if (strings) {
    out += R"(,"token_strs":)";
    write_list(out, ids, [&](int32_t id) { return to_text(Json(tokenizer.piece(id))); });
  }
  response.content_type = "application/json";
  response.body = out + "}";
}

// What lm-eval asks vLLM for: tokenizer_config.json, roles as texts.
void route_tokenizer_info(Service& service, const HttpRequest&, HttpResponse& response) {
  service.require_ready();
  const Tokenizer& tokenizer = service.tokenizer();
  Json info = tokenizer.config();
  info["bos_token"] = text_or_null(tokenizer, tokenizer.bos_id());
  info["eos_token"] = text_or_null(tokenizer, tokenizer.eos_id());
  info["pad_token"] = text_or_null(tokenizer, tokenizer.pad_id());
  info["unk_token"] = text_or_null(tokenizer, tokenizer.unk_id());
  info["add_bos_token"] = tokenizer.add_bos();
  info["add_eos_token"] = tokenizer.add_eos();
  info["model_max_length"] = service.context();
  info["vocab_size"] = tokenizer.vocab_size();
  info.emplace("tokenizer_class", "TokenizersBackend");
  if (!service.chat_template().source().empty())
    info["chat_template"] = service.chat_template().source();
  set_json(response, info);
}

void route_detokenize(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const Json body = std::move(Body(request.body).json);
  check_ignored_fields(body, Api::kTexts);
  const Json* tokens = field_of(body, "tokens");
  if (tokens == nullptr) bad_field("tokens", "missing");
  const std::string text =
      service.tokenizer().decode(parse_ids(*tokens, "tokens", service.limits().vocab), false);
  set_json(response, {{"prompt", text}, {"content", text}});
}

void route_template(Service& service, const HttpRequest& request, HttpResponse& response) {
  service.require_ready();
  const ChatRequest chat = parse_for_prompt(service, request);
  set_json(response, {{"prompt", chat_prompt_text(service.chat_template(), chat)}});
}

void route_health(Service& service, const HttpRequest&, HttpResponse& response) {
  service.require_ready();
  set_json(response, {{"status", "ok"}});
}

void route_metrics(Service& service, const HttpRequest&, HttpResponse& response) {
  response.content_type = "text/plain; version=0.0.4";
  response.body = service.metrics().text(service.engine_stats(), service.name());
}

void route_version(Service&, const HttpRequest&, HttpResponse& response) {
  set_json(response, {{"version", UM_VERSION}, {"name", "ultramoe"}});
}

}  // namespace um
