// See rotary.h.
#include "nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace um {
namespace {

/// YaRN's recommendation for how the scores grow with the context (its section 3.4).
double yarn_mscale(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

/// Llama 3: long wavelengths are stretched, short ones kept, and those between blended.
double llama3_frequency(double frequency, const RopeScaling& s) {
  const double turns =
      static_cast<double>(s.original_positions) * frequency / (2 * std::numbers::pi);
  if (turns > s.high_freq) return frequency;
  if (turns < s.low_freq) return frequency / s.factor;
  const double keep = (turns - s.low_freq) / (s.high_freq - s.low_freq);
  return (1 - keep) * frequency / s.factor + keep * frequency;
}

/// YaRN: pairs that turn often within the original context are kept, those that turn less than once
/// or so are stretched, with a ramp over the pairs between.
void apply_yarn(const AttentionConfig& config, std::vector<double>& frequencies) {
  const RopeScaling& s = config.rope_scaling;
  const auto dim = static_cast<double>(config.qk_rope_dim);
  const auto pair_of = [&](double turns) {
    const double positions = static_cast<double>(s.original_positions);
    return dim * std::log(positions / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(config.rope_theta));
  };
  double low = pair_of(s.beta_fast), high = pair_of(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double stretch = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / s.factor * stretch + frequencies[i] * (1 - stretch);
  }
}

}  // namespace

std::vector<double> rope_frequencies(const AttentionConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  std::vector<double> frequencies(static_cast<size_t>(config.qk_rope_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(
        config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.qk_rope_dim));
  if (s.kind == RopeKind::linear)
    for (double& f : frequencies) f /= s.factor;
  if (s.kind == RopeKind::llama3)
    for (double& f : frequencies) f = llama3_frequency(f, s);
  if (s.kind == RopeKind::yarn) apply_yarn(config, frequencies);
  return frequencies;
}

double rope_amplitude(const AttentionConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  if (s.kind != RopeKind::yarn) return 1.0;
  if (s.attention_factor > 0) return s.attention_factor;
  if (s.mscale > 0 && s.mscale_all_dim > 0)
    return yarn_mscale(s.factor, s.mscale) / yarn_mscale(s.factor, s.mscale_all_dim);
  return yarn_mscale(s.factor, 1.0);
}

double attention_scale(const AttentionConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  const double plain = 1.0 / std::sqrt(static_cast<double>(config.qk_dim()));
  if (s.kind != RopeKind::yarn || s.mscale_all_dim <= 0) return plain;
  const double mscale = yarn_mscale(s.factor, s.mscale_all_dim);
  return plain * mscale * mscale;
}

}  // namespace um
