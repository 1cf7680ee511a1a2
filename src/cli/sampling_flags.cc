// See sampling_flags.h.
#include "cli/sampling_flags.h"

#include <random>

namespace um {

void SamplingFlags::add_to(CLI::App* command) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)->type_name("X")->group("Sampling");
  };
  add("--temperature", temperature, "0: always the most likely token; 1: as the model says (0.8)");
  add("--top-k", top_k, "draw from the k most likely tokens; 0: from all (0)");
  add("--top-p", top_p, "draw from the most likely tokens with this share together (0.95)");
  add("--min-p", min_p, "leave out tokens less likely than this, relative to the best (0)");
  add("--seed", seed, "the same seed gives the same text (default: another every time)");
}

SamplingOptions SamplingFlags::resolve(const GenerationDefaults& defaults) const {
  SamplingOptions options{.temperature = 0.8, .top_p = 0.95};
  if (defaults.has_sampling) options = defaults.sampling;
  options.temperature = temperature.value_or(options.temperature);
  options.top_k = top_k.value_or(options.top_k);
  options.top_p = top_p.value_or(options.top_p);
  options.min_p = min_p.value_or(options.min_p);
  options.check();
  return options;
}

uint64_t SamplingFlags::resolve_seed() const {
  return seed ? *seed : std::random_device{}();
}

}  // namespace um
