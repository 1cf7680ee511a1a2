// See sampler.h.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "engine/logit_row.h"

namespace um {
namespace {

/// 1 / temperature, for tiny temperatures a number that still gives 0 * scale = 0.
float scale_of(const SamplingOptions& options) {
  UM_CHECK(options.temperature > 0, "sampling: greedy decoding draws from no distribution");
  return static_cast<float>(std::min(1.0 / options.temperature, 1e30));
}

std::vector<Candidate> largest(const LogitRow& row, size_t k, float scale) {
  std::vector<Candidate> front;
  for (const auto& entry : row.largest(k))
    front.push_back({entry.id, row.weight(static_cast<size_t>(entry.id), scale)});
  return front;
}

double sum(const std::vector<Candidate>& all) {
  double total = 0;
  for (const Candidate& candidate : all) total += candidate.probability;
  return total;
}

/// Cuts the list behind the candidate with which `share` is reached; false if it never is.
bool cut_at(std::vector<Candidate>& list, double share) {
  double before = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    before += list[i].probability;
    if (before < share) continue;
    list.resize(i + 1);
    return true;
  }
  return false;
}

/// The fewest most likely tokens with `top_p` of all weight: sorts no more than is needed.
std::vector<Candidate> nucleus(const LogitRow& row, double top_p, float scale) {
  const double share = top_p * row.total_weight(scale);
  for (size_t k = 256;; k *= 8) {
    std::vector<Candidate> front = largest(row, k, scale);
    if (cut_at(front, share) || k >= row.logits().size()) return front;
  }
}

/// All tokens with at least `floor` of the best one's weight, by id.
std::vector<Candidate> above(const LogitRow& row, double floor, float scale) {
  // Logits well below are left out by blocks: the bound allows for the weights' rounding.
  const float bound = row.max() + static_cast<float>(std::log(floor * 0.99)) / scale;
  std::vector<Candidate> all;
  for (size_t b = 0; b < row.blocks(); ++b) {
    if (row.block_max(b) < bound) continue;
    const size_t begin = b * LogitRow::kBlock;
    for (size_t i = begin; i < begin + row.block(b).size(); ++i) {
      const auto weight = static_cast<double>(row.weight(i, scale));
      if (weight >= floor && weight > 0) all.push_back({static_cast<int32_t>(i), weight});
    }
  }
  return all;
}

void normalise(std::vector<Candidate>& all) {
  const double total = sum(all);
  for (Candidate& candidate : all) candidate.probability /= total;
}

/// Keeps those whose -log p is nearest to the entropy. `all` is normalised, before and after.
void keep_typical(std::vector<Candidate>& all, double share) {
  struct Strange {
    double distance;
    Candidate candidate;
  };
  std::vector<Strange> order;
  double entropy = 0;
  for (const Candidate& c : all) {
    order.push_back({-std::log(c.probability), c});
    entropy += c.probability * order.back().distance;
  }
  for (Strange& one : order) one.distance = std::abs(one.distance - entropy);
  const auto before = [](const Strange& a, const Strange& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.candidate.id < b.candidate.id;
  };
  size_t sorted = 0;
  double reached = 0;
  all.clear();
  for (size_t want = 256; reached < share && sorted < order.size(); want *= 8) {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(want, order.size()));
    std::nth_element(begin, end - 1, order.end(), before);
    std::sort(begin, end, before);
    for (auto at = begin; at != end && reached < share; ++at) {
      reached += at->candidate.probability;
      all.push_back(at->candidate);
    }
    sorted = want;
  }
  normalise(all);
}

/// Draws from all tokens without a list of them.
int32_t sample_all(const LogitRow& row, float scale, double uniform) {
  std::vector<float> weights(row.blocks());
  double total = 0;
  for (size_t b = 0; b < weights.size(); ++b) {
    weights[b] = row.block_weight(b, scale);
    total += static_cast<double>(weights[b]);
  }
  double left = uniform * total;
  size_t last = 0;  // rounding may leave a little: then the last token of any weight
  for (size_t b = 0; b < weights.size(); ++b) {
    const auto weight = static_cast<double>(weights[b]);
    if (left >= weight && b + 1 < weights.size()) {
      left -= weight;
      if (weight > 0) last = b;
      continue;
    }
    for (size_t i = b * LogitRow::kBlock; i < b * LogitRow::kBlock + row.block(b).size(); ++i) {
      left -= static_cast<double>(row.weight(i, scale));
      if (left < 0) return static_cast<int32_t>(i);
    }
    if (weight > 0) last = b;
    break;
  }
  size_t id = last * LogitRow::kBlock + row.block(last).size() - 1;
  while (row.weight(id, scale) == 0) --id;
  return static_cast<int32_t>(id);
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
  if (!(typical_p > 0 && typical_p <= 1))
    refuse("typical-p", typical_p, "more than 0 and at most 1 (off)");
  if (!(repetition_penalty >= 0.01 && repetition_penalty <= 100))
    refuse("repetition-penalty", repetition_penalty, "0.01 to 100; 1 is off");
  if (!(std::abs(presence_penalty) <= 2))
    refuse("presence-penalty", presence_penalty, "-2 to 2; 0 is off");
  if (!(std::abs(frequency_penalty) <= 2))
    refuse("frequency-penalty", frequency_penalty, "-2 to 2; 0 is off");
  if (!(loop_penalty >= 0 && loop_penalty <= 1000))
    refuse("loop-penalty", loop_penalty, "0 (off) to 1000");
  for (const TokenBias& bias : logit_bias) {
    if (bias.id < 0) refuse("logit-bias of token", bias.id, "an id that is not negative");
    if (!(std::abs(bias.bias) <= 1000)) refuse("logit-bias", bias.bias, "-1000 to 1000");
  }
}

std::vector<Candidate> candidates(std::span<const float> logits, const SamplingOptions& options) {
  options.check();
  const float scale = scale_of(options);
  const LogitRow row(logits);
  const auto k = static_cast<size_t>(options.top_k);
  std::vector<Candidate> kept;
  if (k > 0 && k < logits.size()) {
    kept = largest(row, k, scale);
    if (options.top_p < 1) cut_at(kept, options.top_p * sum(kept));
  } else if (options.top_p < 1) {
    kept = nucleus(row, options.top_p, scale);
  } else {
    kept = above(row, options.min_p, scale);
  }
  // Relative to the most likely token, whose weight here is 1.
  std::erase_if(kept, [&](const Candidate& c) {
    return c.probability < options.min_p || c.probability == 0;
  });
  normalise(kept);
  if (options.typical_p < 1) keep_typical(kept, options.typical_p);
  return kept;
}

int32_t greedy(std::span<const float> logits) {
  return argmax(logits);
}

int32_t sample(std::span<const float> logits, const SamplingOptions& options,
               const RandomStream& random, uint64_t step) {
  if (options.temperature == 0) return greedy(logits);
  double left = random.uniform(step);
  const bool all = options.top_k == 0 && options.top_p == 1 && options.min_p == 0;
  if (all && options.typical_p == 1) {
    options.check();
    return sample_all(LogitRow(logits), scale_of(options), left);
  }
  const std::vector<Candidate> kept = candidates(logits, options);
  for (const Candidate& candidate : kept) {
    left -= candidate.probability;
    if (left < 0) return candidate.id;
  }
  return kept.back().id;  // rounding: the probabilities sum to a little less than 1
}

double log_sum_exp(std::span<const float> logits) {
  const LogitRow row(logits);
  return static_cast<double>(row.max()) + std::log(row.total_weight(1));
}

float log_probability(std::span<const float> logits, int32_t id) {
  UM_CHECK(id >= 0 && static_cast<size_t>(id) < logits.size(),
           "log-probability of token {}: there are {} logits", id, logits.size());
  return static_cast<float>(static_cast<double>(logits[static_cast<size_t>(id)]) -
                            log_sum_exp(logits));
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int64_t k, double log_sum) {
  std::vector<TokenLogprob> top;
  if (k <= 0) return top;
  for (const auto& entry : LogitRow(logits).largest(static_cast<size_t>(k)))
    top.push_back({entry.id, static_cast<float>(static_cast<double>(entry.logit) - log_sum)});
  return top;
}

}  // namespace um
