// See sampling_flags.h.
#include "cli/sampling_flags.h"

#include <charconv>
#include <random>

#include "core/json.h"

namespace um {
namespace {

TokenBias parse_bias(const std::string& text) {
  TokenBias bias;
  const char* end = text.data() + text.size();
  const auto id = std::from_chars(text.data(), end, bias.id);
  const auto value = id.ec == std::errc() && id.ptr != end && *id.ptr == ':'
                         ? std::from_chars(id.ptr + 1, end, bias.bias)
                         : std::from_chars_result{end, std::errc::invalid_argument};
  if (value.ec != std::errc() || value.ptr != end)
    throw UsageError("--logit-bias " + quote(text) + ": expected ID:BIAS, as in 42:-5.5");
  return bias;
}

}  // namespace

void SamplingFlags::add_to(CLI::App* command) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)->type_name("X")->group("Sampling");
  };
  add("--temperature", temperature, "0: always the most likely token; 1: as the model says (0.8)");
  add("--top-k", top_k, "draw from the k most likely tokens; 0: from all (0)");
  add("--top-p", top_p, "draw from the most likely tokens with this share together (0.95)");
  add("--min-p", min_p, "leave out tokens less likely than this, relative to the best (0)");
  add("--typical-p", typical_p,
      "keep tokens of about the expected surprise, this share; 1: off (1)");
  add("--repetition-penalty", repetition_penalty,
      "above 1: tokens of the prompt and the answer less likely (1)");
  add("--presence-penalty", presence_penalty,
      "taken off the logits of tokens that the answer has (0)");
  add("--frequency-penalty", frequency_penalty, "the same, once per time the answer has them (0)");
  add("--loop-penalty", loop_penalty,
      "taken off the token that carries on a block repeated at the end; 0: off (0)");
  command->add_option("--logit-bias", logit_bias, "added to a token's logit; may be given often")
      ->type_name("ID:BIAS")
      ->allow_extra_args(false)
      ->group("Sampling");
  add("--seed", seed, "the same seed gives the same text (default: another every time)");
}

bool SamplingFlags::given() const {
  for (const auto* value : {&temperature, &top_p, &min_p, &typical_p, &repetition_penalty,
                            &presence_penalty, &frequency_penalty, &loop_penalty})
    if (*value) return true;
  return top_k || seed || !logit_bias.empty();
}

SamplingOptions SamplingFlags::resolve(const std::optional<SamplingOptions>& defaults) const {
  SamplingOptions options = defaults.value_or(SamplingOptions{.temperature = 0.8, .top_p = 0.95});
  options.temperature = temperature.value_or(options.temperature);
  options.top_k = top_k.value_or(options.top_k);
  options.top_p = top_p.value_or(options.top_p);
  options.min_p = min_p.value_or(options.min_p);
  options.typical_p = typical_p.value_or(options.typical_p);
  options.repetition_penalty = repetition_penalty.value_or(options.repetition_penalty);
  options.presence_penalty = presence_penalty.value_or(options.presence_penalty);
  options.frequency_penalty = frequency_penalty.value_or(options.frequency_penalty);
  options.loop_penalty = loop_penalty.value_or(options.loop_penalty);
  for (const std::string& text : logit_bias) {
    const TokenBias bias = parse_bias(text);
    for (const TokenBias& other : options.logit_bias)
      if (other.id == bias.id && other.bias != bias.bias)
        throw UsageError(fmt::format("--logit-bias: {} and {} for token {}; give one of them",
                                     other.bias, bias.bias, bias.id));
    options.logit_bias.push_back(bias);
  }
  options.check();
  return options;
}

uint64_t SamplingFlags::resolve_seed() const {
  return seed ? *seed : std::random_device{}();
}

}  // namespace um
