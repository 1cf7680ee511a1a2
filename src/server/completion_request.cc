// completions: prompts as text or ids (see request.h).
#include "server/field_reader.h"
#include "server/ignored_fields.h"
#include "server/request.h"

namespace um {
namespace {

using Prompt = CompletionRequest::Prompt;

/// "text", [ids], ["text", …] or [[ids], …].
std::vector<Prompt> parse_prompts(const Json& json, const RequestLimits& limits) {
  const std::string field = "prompt";
  const auto ids_of = [&](const Json& list) {
    return Prompt{.text = {}, .ids = parse_ids(list, field, limits.vocab), .is_text = false};
  };
  if (json.is_string()) return {Prompt{.text = json.get<std::string>(), .ids = {}}};
  if (!json.is_array() || json.empty())
    bad_field(field, "expected text, token ids, or a list of these, found {}", describe(json));
  if (json[0].is_number()) return {ids_of(json)};
  if (std::ssize(json) > limits.max_prompts)
    bad_field(field, "expected at most {} prompts, found {}", limits.max_prompts, json.size());
  std::vector<Prompt> prompts;
  for (const Json& item : json) {
    if (item.is_string())
      prompts.push_back({.text = item.get<std::string>(), .ids = {}});
    else
      prompts.push_back(ids_of(item));
  }
  return prompts;
}

/// Here `logprobs` is the number of alternatives.
void read_logprobs(const Json& body, const RequestLimits& limits, GenerationParams& params) {
  const Json* json = field_of(body, "logprobs");
  if (json == nullptr || *json == false) return;
  if (*json == true) {
    params.top_logprobs = 0;
    return;
  }
  read_field(body, "logprobs", params.top_logprobs, 0, limits.max_top_logprobs);
}

}  // namespace

CompletionRequest parse_completion_request(const Body& given, const RequestLimits& limits) {
  const Json& body = given.json;
  check_ignored_fields(body, Api::kCompletions);
  CompletionRequest request;
  read_field(body, "echo", request.echo);
  int64_t max_tokens = -1;
  read_field(body, "max_tokens", max_tokens, -1, int64_t{1} << 40);
  request.only_echo = request.echo && max_tokens == 0;
  request.params = parse_generation(given, limits, request.only_echo);
  if (request.params.max_tokens < 0 && field_of(body, "max_tokens") == nullptr &&
      field_of(body, "max_completion_tokens") == nullptr)
    request.params.max_tokens = 16;  // OpenAI's default of this endpoint
  read_logprobs(body, limits, request.params);
  const Json* prompt = field_of(body, "prompt");
  if (prompt == nullptr) bad_field("prompt", "missing");
  request.prompts = parse_prompts(*prompt, limits);
  if (std::ssize(request.prompts) * request.params.n > limits.max_prompts)
    bad_field("n", "{} prompts times n = {} are more than {} answers", request.prompts.size(),
              request.params.n, limits.max_prompts);
  read_field(body, "add_special_tokens", request.add_special_tokens);
  read_field(body, "parse_special", request.parse_special);
  const Json* suffix = field_of(body, "suffix");
  if (suffix != nullptr && *suffix != "") bad_field("suffix", "not supported by this server");
  return request;
}

}  // namespace um
