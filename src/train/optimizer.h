// AdamW over a model's parameters: f32 states, decay groups, global-norm clipping.
#pragma once

#include <map>

#include "nn/module.h"

namespace um {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;  ///< matrices only
  double clip = 1.0;          ///< global gradient norm, 0: none
};

class Optimizer {
 public:
  /// States are made at once, as zeros, for every parameter that trains now.
  Optimizer(ParamStore& params, const AdamWOptions& options);

  /// Global norm of the gradients in the slots (f64 sums; not finite if any gradient is not).
  double grad_norm() const;
  /// One update with learning rate `lr`; gradients are scaled to the clipping norm. Parameters
  /// without a gradient in this step are left alone. `step` counts updates from 1.
  void update(double lr, int64_t step, double grad_norm);

  /// States for checkpoints. Frozen parameters and buffers have none.
  bool has_states(const Param& param) const { return states_.contains(&param); }
  const Tensor& first_moment(const Param& param) const { return states_.at(&param).m; }
  const Tensor& second_moment(const Param& param) const { return states_.at(&param).v; }

 private:
  struct State {
    Tensor m, v;
  };
  ParamStore& params_;
  AdamWOptions options_;
  std::map<const Param*, State> states_;
};

}  // namespace um
