// See sampler.h.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace um {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void check_logits(std::span<const float> logits) {
  UM_CHECK(!logits.empty(), "sampling: no logits");
  bool any = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    UM_CHECK(!std::isnan(logits[i]) && logits[i] != kInfinity,
             "sampling: the logit of token {} is {}; the model's weights are damaged or its "
             "training has diverged",
             i, logits[i]);
    any = any || logits[i] != -kInfinity;
  }
  UM_CHECK(any, "sampling: every logit is -infinity");
}

/// Sorts the most likely candidates to the front until `enough(candidates, sorted)` says how many
/// to keep (0: more are needed). Keeps that many.
template <class Enough>
void keep_front(std::vector<Candidate>& all, size_t first_guess, Enough enough) {
  const auto more_likely = [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
  };
  size_t sorted = 0;
  for (size_t want = first_guess;; want *= 8) {
    want = std::min(want, all.size());
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(sorted);
    std::partial_sort(begin, all.begin() + static_cast<std::ptrdiff_t>(want), all.end(),
                      more_likely);
    sorted = want;
    const size_t keep = enough(all, sorted);
    if (keep == 0 && sorted < all.size()) continue;
    all.resize(keep == 0 ? all.size() : keep);
    return;
  }
}

/// How many of the sorted front have `share` of the whole together; 0 if all of it has less.
size_t nucleus(const std::vector<Candidate>& all, size_t sorted, double share) {
  double before = 0;
  for (size_t i = 0; i < sorted; ++i) {
    before += all[i].probability;
    if (before >= share) return i + 1;
  }
  return 0;
}

double sum(const std::vector<Candidate>& all) {
  double total = 0;
  for (const Candidate& candidate : all) total += candidate.probability;
  return total;
}

}  // namespace

void SamplingOptions::check() const {
  const auto refuse = [](const char* name, auto value, const char* expected) {
    throw UsageError(fmt::format("{} {}: expected {}", name, value, expected));
  };
  if (!(temperature >= 0 && temperature <= 1000))
    refuse("temperature", temperature, "0 (greedy) to 1000");
  if (top_k < 0) refuse("top-k", top_k, "0 (off) or more");
  if (!(top_p > 0 && top_p <= 1)) refuse("top-p", top_p, "more than 0 and at most 1 (off)");
  if (!(min_p >= 0 && min_p <= 1)) refuse("min-p", min_p, "0 (off) to 1");
}

std::vector<Candidate> candidates(std::span<const float> logits, const SamplingOptions& options) {
  options.check();
  UM_CHECK(options.temperature > 0, "sampling: greedy decoding draws from no distribution");
  check_logits(logits);
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  std::vector<Candidate> all(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    all[i] = {static_cast<int32_t>(i),
              std::exp((static_cast<double>(logits[i]) - top) / options.temperature)};
  const auto k = static_cast<size_t>(options.top_k);
  if (k > 0 && k < all.size())
    keep_front(all, k, [&](const auto&, size_t sorted) { return sorted; });
  if (options.top_p < 1) {
    const double share = options.top_p * sum(all);
    keep_front(all, 64,
               [&](const auto& list, size_t sorted) { return nucleus(list, sorted, share); });
  }
  // Relative to the most likely token, whose weight here is 1.
  std::erase_if(
      all, [&](const Candidate& c) { return c.probability < options.min_p || c.probability == 0; });
  const double total = sum(all);
  for (Candidate& candidate : all) candidate.probability /= total;
  return all;
}

int32_t greedy(std::span<const float> logits) {
  check_logits(logits);
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int32_t sample(std::span<const float> logits, const SamplingOptions& options,
               const RandomStream& random, uint64_t step) {
  if (options.temperature == 0) return greedy(logits);
  const std::vector<Candidate> kept = candidates(logits, options);
  double left = random.uniform(step);
  for (const Candidate& candidate : kept) {
    left -= candidate.probability;
    if (left < 0) return candidate.id;
  }
  return kept.back().id;  // rounding: the probabilities sum to a little less than 1
}

}  // namespace um
