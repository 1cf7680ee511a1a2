// See config.h.
#include "nn/config.h"

#include <cmath>

namespace um {

double ModelConfig::weight_init_std() const {
  if (init == InitRule::normal) return initializer_range;
  return std::sqrt(1.0 / (2.0 * static_cast<double>(hidden) * static_cast<double>(layers)));
}

double ModelConfig::post_attn_gain() const {
  return c_attn / std::sqrt(static_cast<double>(layers));
}

double ModelConfig::post_mlp_gain() const {
  return c_mlp / std::sqrt(static_cast<double>(layers));
}

}  // namespace um
