// See divergence.h.
#include "engine/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"

namespace um {
namespace {

/// Logarithms of probabilities up to this one carry no weight in a divergence.
constexpr double kNegligible = -16;

double quantile(const std::vector<double>& sorted, double at) {
  const double place = at * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return (1 - part) * sorted[below] + part * sorted[above];
}

Spread spread(const Moments& moments, std::vector<double> values) {
  Spread out;
  out.mean = moments.estimate();
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < Spread::kAt.size(); ++i)
    out.quantiles[i] = quantile(values, Spread::kAt[i]);
  return out;
}

/// exp of a mean.
Estimate exponential(const Estimate& of) {
  const double value = std::exp(of.value);
  return {value, value * of.uncertainty};
}

Estimate square_root(const Estimate& of) {
  const double value = std::sqrt(of.value);
  return {value, value > 0 ? 0.5 / value * of.uncertainty : 0};
}

Estimate share(int64_t part, int64_t whole) {
  const double value = static_cast<double>(part) / static_cast<double>(whole);
  const auto others = static_cast<double>(std::max<int64_t>(whole - 1, 1));
  return {value, std::sqrt(value * (1 - value) / others)};
}

nlohmann::ordered_json json_of(const Estimate& of) {
  return {{"value", of.value}, {"uncertainty", of.uncertainty}};
}

nlohmann::ordered_json json_of(const Spread& of) {
  nlohmann::ordered_json json = {{"mean", json_of(of.mean)}};
  for (size_t i = 0; i < Spread::kAt.size(); ++i) {
    const double at = Spread::kAt[i];
    const std::string name = at == 0     ? "min"
                             : at == 0.5 ? "median"
                             : at == 1   ? "max"
                                         : fmt::format("p{:.3g}", 100 * at);
    json[name] = of.quantiles[i];
  }
  return json;
}

}  // namespace

void Moments::add(double x) {
  ++count_;
  const double before = x - mean_;
  mean_ += before / static_cast<double>(count_);
  squares_ += before * (x - mean_);
}

double Moments::variance() const {
  return count_ > 0 ? squares_ / static_cast<double>(count_) : 0;
}

Estimate Moments::estimate() const {
  return {mean_, count_ > 1 ? std::sqrt(variance() / static_cast<double>(count_ - 1)) : 0};
}

double log_total(std::span<const float> logits) {
  float max = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) max = logit > max ? logit : max;
  double sum = 0;
  for (const float logit : logits)
    sum += std::exp(static_cast<double>(logit) - static_cast<double>(max));
  return static_cast<double>(max) + std::log(sum);
}

void log_softmax(std::span<const float> logits, std::span<double> out) {
  const double total = log_total(logits);
  for (size_t i = 0; i < logits.size(); ++i) out[i] = static_cast<double>(logits[i]) - total;
}

RowDivergence compare_row(std::span<const double> base, std::span<const double> model,
                          int32_t target) {
  RowDivergence row;
  size_t base_top = 0, top = 0;
  for (size_t i = 0; i < base.size(); ++i) {
    const double p = base[i], q = model[i];
    if (p > base[base_top]) base_top = i;
    if (q > model[top]) top = i;
    if (p > kNegligible) row.kl += std::exp(p) * (p - q);
    if (q > kNegligible) row.reverse_kl += std::exp(q) * (q - p);
  }
  const auto t = static_cast<size_t>(target);
  row.base_nats = -base[t];
  row.nats = -model[t];
  row.delta_p = std::exp(model[t]) - std::exp(base[t]);
  row.same_top = base_top == top;
  return row;
}

void Divergence::add(const RowDivergence& row) {
  UM_CHECK(std::isfinite(row.nats) && std::isfinite(row.base_nats) && std::isfinite(row.kl) &&
               std::isfinite(row.reverse_kl),
           "scored token {}: -ln p is {}, KL divergence from the base {}; weights are damaged or "
           "the training has diverged",
           tokens() + 1, row.nats, row.kl);
  base_nats_.add(row.base_nats);
  nats_.add(row.nats);
  nats_difference_.add(row.nats - row.base_nats);
  kl_.add(row.kl);
  reverse_kl_.add(row.reverse_kl);
  delta_p_.add(row.delta_p);
  delta_p_square_.add(row.delta_p * row.delta_p);
  same_top_ += row.same_top ? 1 : 0;
  kls_.push_back(row.kl);
  reverse_kls_.push_back(row.reverse_kl);
  delta_ps_.push_back(row.delta_p);
}

DivergenceReport Divergence::report() const {
  UM_CHECK(tokens() > 0, "no token was scored");
  DivergenceReport out;
  out.tokens = tokens();
  out.perplexity = exponential(nats_.estimate());
  out.base_perplexity = exponential(base_nats_.estimate());
  // The variance of the difference has the covariance in it.
  out.log_ratio = nats_difference_.estimate();
  out.ratio = exponential(out.log_ratio);
  const double a = nats_.variance(), b = base_nats_.variance();
  if (a > 0 && b > 0)
    out.correlation = (a + b - nats_difference_.variance()) / (2 * std::sqrt(a * b));
  out.kl = spread(kl_, kls_);
  out.reverse_kl = spread(reverse_kl_, reverse_kls_);
  out.delta_p = spread(delta_p_, delta_ps_);
  out.rms_delta_p = square_root(delta_p_square_.estimate());
  out.same_top = share(same_top_, out.tokens);
  return out;
}

nlohmann::ordered_json to_json(const DivergenceReport& report) {
  return {{"tokens", report.tokens},
          {"perplexity", json_of(report.perplexity)},
          {"base_perplexity", json_of(report.base_perplexity)},
          {"log_ratio", json_of(report.log_ratio)},
          {"ratio", json_of(report.ratio)},
          {"correlation", report.correlation},
          {"kl", json_of(report.kl)},
          {"reverse_kl", json_of(report.reverse_kl)},
          {"delta_p", json_of(report.delta_p)},
          {"rms_delta_p", json_of(report.rms_delta_p)},
          {"same_top", json_of(report.same_top)}};
}

}  // namespace um
