// How far the predictions of a model are from those of a base, token after token: what quantisation
// costs. The figures are those that llama.cpp's `llama-perplexity --kl-divergence` prints, with the
// divergence in the other direction beside them. V vocabulary, N scored tokens.
//
// p is the base's distribution at one place, q the model's, t the token that follows there.
//
//   KL(a‖b) = Σ_i a_i (ln a_i - ln b_i)     Kullback & Leibler 1951; over the i with ln a_i > -16,
//                                           below which a base file does not tell values apart
//   Δp = q_t - p_t                          and its root mean square
//   PPL = exp(mean of -ln q_t)
//   ln(PPL/PPL_base) = mean of (ln p_t - ln q_t)
//
// The uncertainty of a mean of x is sqrt((mean x² - mean² x) / (N - 1)), that of f(mean) this times
// |f'|; a share s has sqrt(s (1 - s) / (N - 1)). Quantiles are interpolated between neighbours.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

namespace um {

/// A figure and its standard error.
struct Estimate {
  double value = 0, uncertainty = 0;
};

/// Mean and variance of numbers that come one by one (Welford 1962).
class Moments {
 public:
  void add(double x);
  int64_t count() const { return count_; }
  double mean() const { return mean_; }
  /// Of the numbers themselves: the mean square of x - mean.
  double variance() const;
  /// The mean with its uncertainty, which is 0 of a single number.
  Estimate estimate() const;

 private:
  int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;
};

/// ln Σ exp(logit) in f64. NaN if a logit is NaN or +infinity, or if all are -infinity.
double log_total(std::span<const float> logits);
/// The logarithms of the probabilities, in f64: out[i] = logits[i] - log_total(logits).
void log_softmax(std::span<const float> logits, std::span<double> out);

/// What is measured at one place of a text.
struct RowDivergence {
  double base_nats = 0, nats = 0;  ///< -ln p_t, -ln q_t
  double kl = 0;                   ///< KL(p‖q): base to model
  double reverse_kl = 0;           ///< KL(q‖p)
  double delta_p = 0;              ///< q_t - p_t
  bool same_top = false;           ///< the first of each one's most likely tokens is the same
};

/// Compares the logarithms of probabilities, [V] of the base and [V] of the model. `target` < V. A
/// pure function; it does not throw.
RowDivergence compare_row(std::span<const double> base, std::span<const double> model,
                          int32_t target);

/// How a measured value is spread.
struct Spread {
  static constexpr std::array<double, 13> kAt = {0,   .001, .01, .05, .1,   .25, .5,
                                                 .75, .9,   .95, .99, .999, 1};
  Estimate mean;
  std::array<double, kAt.size()> quantiles = {};  ///< at kAt: minimum, …, median, …, maximum

  double median() const { return quantiles[6]; }
  double max() const { return quantiles.back(); }
};

struct DivergenceReport {
  int64_t tokens = 0;  ///< scored
  Estimate perplexity, base_perplexity;
  Estimate log_ratio;      ///< ln(PPL/PPL_base)
  Estimate ratio;          ///< PPL/PPL_base
  double correlation = 1;  ///< of the two -ln p of each token
  Spread kl, reverse_kl, delta_p;
  Estimate rms_delta_p;
  Estimate same_top;  ///< share of the places
};

/// Adds up rows. Keeps 24 bytes a row, for the quantiles.
class Divergence {
 public:
  /// Throws Error unless all figures are finite (a model's weights may be damaged).
  void add(const RowDivergence& row);
  int64_t tokens() const { return nats_.count(); }
  /// Of the rows so far; at least one. Deterministic: depends on the rows and their order alone.
  DivergenceReport report() const;

 private:
  Moments base_nats_, nats_, nats_difference_, kl_, reverse_kl_, delta_p_, delta_p_square_;
  int64_t same_top_ = 0;
  std::vector<double> kls_, reverse_kls_, delta_ps_;
};

/// {"tokens", "perplexity": {"value", "uncertainty"}, "base_perplexity", "log_ratio", "ratio",
/// "correlation", "kl": {"mean": {…}, "min", "p0.1", "p1", …, "median", …, "max"}, "reverse_kl",
/// "delta_p", "rms_delta_p", "same_top"}; probabilities and shares from 0 to 1, divergences in
/// nats.
nlohmann::ordered_json to_json(const DivergenceReport& report);

}  // namespace um
