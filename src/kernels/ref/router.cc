// The router, reference: scores, choice, weights, counts, and the gradient to the logits. Rules:
// plain top-k, MoGE (Pangu Pro MoE, arXiv 2505.21411: the same number from each group) and
// DeepSeek's limited groups (V2: best member, V3: sum of the best two).
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/kernels.h"

namespace um::ref {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();  // NaN and -inf count as this

void score_row(const RouterRule& rule, const float* logits, int64_t experts, float* scores) {
  if (rule.sigmoid) {
    for (int64_t e = 0; e < experts; ++e) {
      scores[e] = static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logits[e]))));
    }
    return;
  }
  const double highest = *std::max_element(logits, logits + experts);
  double sum = 0;
  for (int64_t e = 0; e < experts; ++e) sum += std::exp(logits[e] - highest);
  for (int64_t e = 0; e < experts; ++e) {
    scores[e] = static_cast<float>(std::exp(logits[e] - highest) / sum);
  }
}

// Writes the ids of the `count` highest values among [begin, end), highest first, lower id first
// among equals, and excludes them from later choices.
void take_best(std::vector<float>& choice, int64_t begin, int64_t end, int64_t count,
               int32_t* ids) {
  for (int64_t k = 0; k < count; ++k) {
    int64_t best = begin;
    for (int64_t e = begin + 1; e < end; ++e) {
      if (choice[e] > choice[best]) best = e;
    }
    ids[k] = static_cast<int32_t>(best);
    choice[best] = kExcluded;
  }
}

// Keeps only the `limit_groups` groups of the highest group score.
void limit_groups(const RouterRule& rule, std::vector<float>& choice) {
  const int64_t size = static_cast<int64_t>(choice.size()) / rule.groups;
  std::vector<float> group_score(rule.groups);
  for (int64_t g = 0; g < rule.groups; ++g) {
    std::vector<float> members(choice.begin() + g * size, choice.begin() + (g + 1) * size);
    std::sort(members.begin(), members.end(), std::greater<>());
    group_score[g] = members[0] + (rule.sigmoid && size > 1 ? members[1] : 0.0f);
    if (!(group_score[g] > kLowest)) group_score[g] = kLowest;
  }
  std::vector<int32_t> kept(rule.limit_groups);
  take_best(group_score, 0, rule.groups, rule.limit_groups, kept.data());
  for (int64_t g = 0; g < rule.groups; ++g) {
    if (std::find(kept.begin(), kept.end(), g) != kept.end()) continue;
    std::fill_n(choice.begin() + g * size, size, kExcluded);
  }
}

void choose(const Router& a, const float* scores, int32_t* ids) {
  std::vector<float> choice(a.experts);
  for (int64_t e = 0; e < a.experts; ++e) {
    const float value = scores[e] + (a.bias ? a.bias[e] : 0.0f);
    choice[e] = value > kLowest ? value : kLowest;
  }
  const bool limited = a.rule.limit_groups > 0;
  if (limited) limit_groups(a.rule, choice);
  const int64_t groups = limited ? 1 : a.rule.groups;
  const int64_t size = a.experts / groups, each = a.top_k / groups;
  for (int64_t g = 0; g < groups; ++g) {
    take_best(choice, g * size, (g + 1) * size, each, ids + g * each);
  }
}

// Sum of the chosen scores that the weights are divided by, or 1.
double normaliser(const RouterRule& rule, const float* scores, const int32_t* ids, int64_t top_k) {
  if (!rule.normalize) return 1.0;
  double sum = 1e-20;
  for (int64_t k = 0; k < top_k; ++k) sum += scores[ids[k]];
  return sum;
}

}  // namespace

void router(const Router& a) {
  if (a.counts) std::fill_n(a.counts, a.experts, 0);
  std::vector<float> row(a.experts);
  for (int64_t t = 0; t < a.tokens; ++t) {
    score_row(a.rule, a.logits + t * a.experts, a.experts, row.data());
    int32_t* ids = a.ids + t * a.top_k;
    if (a.chosen)
      std::copy_n(a.chosen + t * a.top_k, a.top_k, ids);
    else
      choose(a, row.data(), ids);
    const double divisor = normaliser(a.rule, row.data(), ids, a.top_k);
    for (int64_t k = 0; k < a.top_k; ++k) {
      const double scale = a.expert_scale ? a.expert_scale[ids[k]] : 1.0;
      a.weights[t * a.top_k + k] =
          static_cast<float>(row[ids[k]] / divisor * a.rule.scaling_factor * scale);
      if (a.counts) ++a.counts[ids[k]];
    }
    if (a.scores) std::copy(row.begin(), row.end(), a.scores + t * a.experts);
  }
}

namespace {

// Gradient of the scores from the weights: w_k = c_k s_k / N with N = Σ s (or 1).
void weights_grad(const RouterGrad& a, int64_t t, std::vector<double>& dscore,
                  std::vector<double>& dexpert_scale) {
  const float* s = a.scores + t * a.experts;
  const int32_t* ids = a.ids + t * a.top_k;
  const float* dw = a.dweights + t * a.top_k;
  const double divisor = normaliser(a.rule, s, ids, a.top_k);
  double dot = 0;
  for (int64_t k = 0; k < a.top_k; ++k) {
    const double scale = a.expert_scale ? a.expert_scale[ids[k]] : 1.0;
    const double du = dw[k] * a.rule.scaling_factor;
    dexpert_scale[ids[k]] += du * s[ids[k]] / divisor;
    dscore[ids[k]] += du * scale / divisor;
    dot += du * scale * s[ids[k]];
  }
  for (int64_t k = 0; a.rule.normalize && k < a.top_k; ++k) {
    dscore[ids[k]] -= dot / (divisor * divisor);
  }
}

// Gradient of the scores from Σ_i b_i p_i, p = s for softmax and s / Σ s for sigmoid.
void balance_grad(const RouterGrad& a, int64_t t, std::vector<double>& dscore) {
  const float* s = a.scores + t * a.experts;
  const int64_t row = a.balance_stride && a.sequence_of ? a.sequence_of[t] : 0;
  const float* b = a.balance + row * a.balance_stride;
  double sum = 1e-20, dot = 0;
  for (int64_t e = 0; e < a.experts; ++e) {
    sum += s[e];
    dot += static_cast<double>(b[e]) * s[e];
  }
  for (int64_t e = 0; e < a.experts; ++e) {
    dscore[e] += a.rule.sigmoid ? (b[e] - dot / sum) / sum : b[e];
  }
}

}  // namespace

void router_grad(const RouterGrad& a) {
  std::vector<double> dscore(a.experts), dexpert_scale(a.experts);
  for (int64_t t = 0; t < a.tokens; ++t) {
    std::fill(dscore.begin(), dscore.end(), 0.0);
    if (a.dweights) weights_grad(a, t, dscore, dexpert_scale);
    if (a.balance) balance_grad(a, t, dscore);
    const float* s = a.scores + t * a.experts;
    double dot = 0;
    for (int64_t e = 0; e < a.experts; ++e) dot += dscore[e] * s[e];
    for (int64_t e = 0; a.dlogits && e < a.experts; ++e) {
      const double d = a.rule.sigmoid ? dscore[e] * s[e] * (1.0 - s[e]) : s[e] * (dscore[e] - dot);
      a.dlogits[t * a.experts + e] = static_cast<float>(d);
    }
  }
  for (int64_t e = 0; a.dexpert_scale && e < a.experts; ++e) {
    const double before = a.accumulate_dexpert_scale ? a.dexpert_scale[e] : 0.0;
    a.dexpert_scale[e] = static_cast<float>(before + dexpert_scale[e]);
  }
}

}  // namespace um::ref
