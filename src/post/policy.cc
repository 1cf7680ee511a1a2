// See policy.h.
#include "post/policy.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace um {
namespace {

/// The rows of a batch's answer s that have targets, of which there is one stretch at least.
template <class Visit>
void for_each_answer(const Batch& batch, Visit visit) {
  for (size_t s = 0; s + 1 < batch.seq_offsets.size(); ++s) {
    std::vector<size_t> rows;
    for (auto t = static_cast<size_t>(batch.seq_offsets[s]);
         t < static_cast<size_t>(batch.seq_offsets[s + 1]); ++t)
      if (batch.targets[t] >= 0) rows.push_back(t);
    if (!rows.empty()) visit(rows);
  }
}

/// Whether the clipped branch of min(r A, clip(r) A) holds, which has no gradient.
bool is_clipped(const PolicyOptions& options, double ratio, double advantage) {
  return advantage >= 0 ? ratio > 1 + options.clip_high : ratio < 1 - options.clip_low;
}

bool by_answer(const PolicyOptions& options) {
  return options.loss == "grpo" || options.loss == "gspo";
}

}  // namespace

std::vector<float> policy_weights(const PolicyOptions& options, const Batch& batch,
                                  std::span<const float> now, PolicyStep& step) {
  std::vector<float> weights(batch.targets.size(), 0.0f);
  for_each_answer(batch, [&](const std::vector<size_t>& rows) {
    const auto length = static_cast<double>(rows.size());
    const double part = by_answer(options) ? 1 / length : 1;
    double mean = 0;
    for (const size_t t : rows) {
      const double log_ratio =
          static_cast<double>(now[t]) - static_cast<double>(batch.sampled_logprobs[t]);
      mean += log_ratio / length;
      step.gap = std::max(step.gap, std::abs(log_ratio));
      step.divergence += std::expm1(log_ratio) - log_ratio;
    }
    step.tokens += length;
    const bool whole = options.loss == "gspo";
    for (const size_t t : rows) {
      const double advantage = static_cast<double>(batch.weights[t]);
      const double log_ratio =
          whole ? mean
                : static_cast<double>(now[t]) - static_cast<double>(batch.sampled_logprobs[t]);
      const double ratio = std::exp(log_ratio);
      const bool clipped = is_clipped(options, ratio, advantage);
      step.clipped += clipped ? 1 : 0;
      weights[t] = clipped ? 0.0f : static_cast<float>(ratio * advantage * part);
    }
  });
  return weights;
}

double policy_denominator(const PolicyOptions& options, std::span<const Batch> batches) {
  double answers = 0, tokens = 0;
  for (const Batch& batch : batches)
    for_each_answer(batch, [&](const std::vector<size_t>& rows) {
      answers += 1;
      tokens += static_cast<double>(rows.size());
    });
  if (options.loss == "dapo") return tokens;
  return options.loss == "dr_grpo" ? answers * static_cast<double>(options.max_tokens) : answers;
}

StepLosses PolicyObjective::run(const Model& model, std::span<const Batch> batches,
                                const StepOptions& options) const {
  const NextTokenObjective plain({});
  // Log-probabilities as they are: the sampler's, or from a pass of its own.
  std::vector<std::vector<float>> now(batches.size());
  StepOptions look{.on_losses = [&](size_t i, const std::vector<float>& nats) {
    now[i].assign(nats.size(), 0.0f);
    std::ranges::transform(nats, now[i].begin(), [](float loss) { return -loss; });
  }};
  const StepTotals ones{.tokens = 1, .targets = 1, .mtp_targets = {}};
  look.totals = &ones;
  const bool dry = model.device().dry();
  const auto sampled = [&](const Batch& batch) {
    return batch.sampled_logprobs.empty() ? std::vector<float>(batch.targets.size(), 0.0f)
                                          : batch.sampled_logprobs;
  };
  if (!fresh_ && !dry) {
    plain.run(model, batches, look);
  } else {
    for (size_t i = 0; i < batches.size(); ++i) now[i] = sampled(batches[i]);
  }
  PolicyStep step;
  std::vector<Batch> weighted(batches.begin(), batches.end());
  StepTotals totals{.targets = policy_denominator(options_, batches), .mtp_targets = {}};
  for (size_t i = 0; i < weighted.size(); ++i) {
    Batch& batch = weighted[i];
    totals.tokens += batch.size();
    if (batch.sampled_logprobs.empty()) batch.sampled_logprobs = sampled(batch);
    if (batch.weights.empty()) batch.weights.assign(batch.targets.size(), 1.0f);
    batch.weights = policy_weights(options_, batch, now[i], step);
  }
  StepOptions rest = options;
  rest.totals = &totals;
  if (fresh_) rest.on_losses = look.on_losses;
  const StepLosses losses = plain.run(model, weighted, rest);
  if (fresh_ && !dry) {  // the training pass itself shows how far sampler and trainer are apart
    step = {};
    for (size_t i = 0; i < batches.size(); ++i)
      if (!batches[i].sampled_logprobs.empty() && !now[i].empty())
        policy_weights(options_, batches[i], now[i], step);
  }
  if (step.tokens > 0) step.clipped /= step.tokens, step.divergence /= step.tokens;
  last_ = step;
  return losses;
}

}  // namespace um
