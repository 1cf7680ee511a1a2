// The router in one pass per token: scores, choice, weights; counts as a histogram per thread.
// Choice values live in a padded row where a taken or excluded expert is -infinity, and NaN or
// -infinity from the model counts as the lowest finite number, so the ids are always valid.
#include <cfloat>

#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

constexpr float kExcluded = -__builtin_inff();
constexpr float kLowest = -FLT_MAX;

void score_row(bool use_sigmoid, const float* logits, int64_t experts, float* scores) {
  if (use_sigmoid) {
    for_vectors(experts, [&](int64_t i, int64_t n) {
      store_n(scores + i, sigmoid(load_n(logits + i, n)), n);
    });
    return;
  }
  float highest = kLowest;
  for (int64_t e = 0; e < experts; ++e) highest = logits[e] > highest ? logits[e] : highest;
  const Vec top = splat(highest);
  float sum = 0;
  for_vectors(experts, [&](int64_t i, int64_t n) {
    store_n(scores + i, exp(load_n(logits + i, n) - top), n);
  });
  sum = sum_of(experts, [&](int64_t i, int64_t n, Vec s) { return s + load_n(scores + i, n); });
  const Vec scale = splat(1.0f / sum);
  for_vectors(experts,
              [&](int64_t i, int64_t n) { store_n(scores + i, load_n(scores + i, n) * scale, n); });
}

// The index of the highest of `count` values, the lowest index among equals.
int64_t best_of(const float* values, int64_t count) {
  Vec best = splat(kExcluded);
  const Vec excluded = splat(kExcluded);
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) best = max(best, load(values + i));
  float top = max_lane(max(best, excluded));
  for (int64_t j = i; j < count; ++j) top = values[j] > top ? values[j] : top;
  const Vec wanted = splat(top);
  for (int64_t j = 0; j < i; j += kWidth) {
    const uint32_t found = at_least(load(values + j), wanted);
    if (found) return j + __builtin_ctz(found);
  }
  for (int64_t j = i; j < count; ++j) {
    if (values[j] >= top) return j;
  }
  return 0;
}

void take_best(float* choice, int64_t begin, int64_t size, int64_t count, int32_t* ids) {
  for (int64_t k = 0; k < count; ++k) {
    const int64_t best = begin + best_of(choice + begin, size);
    ids[k] = static_cast<int32_t>(best);
    choice[best] = kExcluded;
  }
}

// V3 (sigmoid): sum of the two highest members; V2 (softmax): the highest.
float group_score(const float* choice, int64_t size, bool two) {
  float first = kExcluded, second = kExcluded;
  for (int64_t i = 0; i < size; ++i) {
    if (choice[i] > first) {
      second = first;
      first = choice[i];
    } else if (choice[i] > second) {
      second = choice[i];
    }
  }
  const float score = two && size > 1 ? first + second : first;
  return score > kLowest ? score : kLowest;
}

// Keeps only the limit_groups groups of the highest score; `groups` is scratch of that many floats.
void limit_groups(const RouterRule& rule, int64_t experts, float* choice, float* groups) {
  const int64_t size = experts / rule.groups;
  for (int64_t g = 0; g < rule.groups; ++g) {
    groups[g] = group_score(choice + g * size, size, rule.sigmoid);
  }
  for (int64_t k = 0; k < rule.limit_groups; ++k) {
    groups[best_of(groups, rule.groups)] = kExcluded;  // here: kept
  }
  for (int64_t g = 0; g < rule.groups; ++g) {
    if (groups[g] == kExcluded) continue;
    for (int64_t i = 0; i < size; ++i) choice[g * size + i] = kExcluded;
  }
}

float normaliser(const RouterRule& rule, const float* scores, const int32_t* ids, int64_t top_k) {
  if (!rule.normalize) return 1.0f;
  float sum = 1e-20f;
  for (int64_t k = 0; k < top_k; ++k) sum += scores[ids[k]];
  return sum;
}

// `buffer` holds 2 * experts floats: choice values, group scores.
void choose(const Router& a, const float* scores, float* buffer, int32_t* ids) {
  float *choice = buffer, *groups = choice + a.experts;
  const Vec lowest = splat(kLowest);
  for_vectors(a.experts, [&](int64_t i, int64_t n) {
    const Vec s = load_n(scores + i, n);
    store_n(choice + i, max(a.bias ? s + load_n(a.bias + i, n) : s, lowest), n);  // NaN: lowest
  });
  const bool limited = a.rule.limit_groups > 0;
  if (limited) limit_groups(a.rule, a.experts, choice, groups);
  const int64_t count = limited ? 1 : a.rule.groups;
  const int64_t size = a.experts / count, each = a.top_k / count;
  for (int64_t g = 0; g < count; ++g) take_best(choice, g * size, size, each, ids + g * each);
}

// `buffer` holds 3 * experts floats: scores (when not kept), and what choose() needs.
void route(const Router& a, int64_t t, float* buffer) {
  float* scores = a.scores ? a.scores + t * a.experts : buffer;
  int32_t* ids = a.ids + t * a.top_k;
  score_row(a.rule.sigmoid, a.logits + t * a.experts, a.experts, scores);
  if (a.chosen)
    std::memcpy(ids, a.chosen + t * a.top_k, static_cast<size_t>(a.top_k) * sizeof(int32_t));
  else
    choose(a, scores, buffer + a.experts, ids);
  const float scale = a.rule.scaling_factor / normaliser(a.rule, scores, ids, a.top_k);
  for (int64_t k = 0; k < a.top_k; ++k) {
    const float own = a.expert_scale ? scale * a.expert_scale[ids[k]] : scale;
    a.weights[t * a.top_k + k] = scores[ids[k]] * own;
  }
}

}  // namespace

void router(const Router& a) {
  parallel_for(a.tokens, 8 * a.tokens * a.experts, [&](int64_t begin, int64_t end) {
    static thread_local Scratch scratch;
    float* buffer = scratch.floats(3 * a.experts);
    for (int64_t t = begin; t < end; ++t) route(a, t, buffer);
  });
  if (!a.counts) return;
  std::memset(a.counts, 0, static_cast<size_t>(a.experts) * sizeof(int64_t));
  for (int64_t i = 0; i < a.tokens * a.top_k; ++i) ++a.counts[a.ids[i]];
}

namespace {

// Adds the gradient of the scores from the weights: w_k = c_k s_k / N with N = Σ s (or 1).
void weights_grad(const RouterGrad& a, int64_t t, float* dscore, float* dexpert_scale) {
  const float* s = a.scores + t * a.experts;
  const int32_t* ids = a.ids + t * a.top_k;
  const float* dw = a.dweights + t * a.top_k;
  const float inv = 1.0f / normaliser(a.rule, s, ids, a.top_k);
  float dot = 0;
  for (int64_t k = 0; k < a.top_k; ++k) {
    const int32_t e = ids[k];
    const float du = dw[k] * a.rule.scaling_factor * inv;
    const float scaled = a.expert_scale ? du * a.expert_scale[e] : du;
    if (a.dexpert_scale) dexpert_scale[e] += du * s[e];
    dscore[e] += scaled;
    dot += scaled * s[e];
  }
  for (int64_t k = 0; a.rule.normalize && k < a.top_k; ++k) dscore[ids[k]] -= dot * inv;
}

// The gradient of the scores from Σ_i b_i p_i, p = s for softmax and s / Σ s for sigmoid.
void balance_grad(const RouterGrad& a, int64_t t, float* dscore) {
  const float* s = a.scores + t * a.experts;
  const int64_t row = a.balance_stride && a.sequence_of ? a.sequence_of[t] : 0;
  const float* b = a.balance + row * a.balance_stride;
  if (!a.rule.sigmoid) {
    std::memcpy(dscore, b, static_cast<size_t>(a.experts) * sizeof(float));
    return;
  }
  const float total = 1e-20f + sum_of(a.experts, [&](int64_t i, int64_t n, Vec sum) {
                        return sum + load_n(s + i, n);
                      });
  const float dot = sum_of(a.experts, [&](int64_t i, int64_t n, Vec sum) {
    return fma(load_n(b + i, n), load_n(s + i, n), sum);
  });
  const Vec inv = splat(1.0f / total), mean = splat(dot / total);
  for_vectors(a.experts, [&](int64_t i, int64_t n) {
    store_n(dscore + i, (load_n(b + i, n) - mean) * inv, n);
  });
}

void router_grad_row(const RouterGrad& a, int64_t t, float* dscore, float* dexpert_scale) {
  const float* s = a.scores + t * a.experts;
  if (a.balance) {
    balance_grad(a, t, dscore);
  } else {
    std::memset(dscore, 0, static_cast<size_t>(a.experts) * sizeof(float));
  }
  if (a.dweights) weights_grad(a, t, dscore, dexpert_scale);
  if (!a.dlogits) return;
  float* dlogits = a.dlogits + t * a.experts;
  const Vec one = splat(1.0f);
  float dot = 0;
  if (!a.rule.sigmoid) {
    dot = sum_of(a.experts, [&](int64_t i, int64_t n, Vec sum) {
      return fma(load_n(dscore + i, n), load_n(s + i, n), sum);
    });
  }
  const Vec mean = splat(dot);
  for_vectors(a.experts, [&](int64_t i, int64_t n) {
    const Vec score = load_n(s + i, n), d = load_n(dscore + i, n);
    store_n(dlogits + i, a.rule.sigmoid ? d * score * (one - score) : score * (d - mean), n);
  });
}

}  // namespace

void router_grad(const RouterGrad& a) {
  static thread_local Scratch scratch;
  column_sums(a.tokens, a.experts, 4 * a.tokens * a.experts, a.dexpert_scale,
              a.accumulate_dexpert_scale, scratch,
              [&](int64_t begin, int64_t end, float* dexpert_scale) {
                static thread_local Scratch row;
                float* dscore = row.floats(a.experts);
                for (int64_t t = begin; t < end; ++t) {
                  router_grad_row(a, t, dscore, dexpert_scale);
                }
              });
}

}  // namespace um::UM_ISA
