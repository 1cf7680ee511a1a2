// See optimizer.h.
#include "train/optimizer.h"

#include <cmath>

#include "ops/launch.h"

namespace um {

Optimizer::Optimizer(ParamStore& params, const AdamWOptions& options)
    : params_(params), options_(options) {
  UM_CHECK(params.weights() == WeightTypes(),
           "the model's weights are {}: only f32 weights train; load the model with f32 weights",
           format_name(params.weights().matrices));
  for (const auto& param : params.all())
    if (param->trainable)
      states_[param.get()] = {Tensor::zeros(params.device(), param->value.shape()),
                              Tensor::zeros(params.device(), param->value.shape())};
}

double Optimizer::grad_norm() const {
  double squares = 0;
  for (const auto& param : params_.all()) {
    if (!param->slot.written) continue;
    double sum = 0;
    launch(params_.device(),
           SumSquares{.count = param->value.count(), .x = param->slot.grad.f32(), .result = &sum});
    squares += sum;
  }
  return std::sqrt(squares);
}

void Optimizer::update(double lr, int64_t step, double grad_norm) {
  const double scale =
      options_.clip > 0 && grad_norm > options_.clip ? options_.clip / grad_norm : 1.0;
  const auto correction = [step](double beta) {
    return static_cast<float>(1.0 - std::pow(beta, static_cast<double>(step)));
  };
  for (const auto& param : params_.all()) {
    if (!param->trainable || !param->slot.written) continue;
    State& state = states_.at(param.get());
    launch(params_.device(),
           AdamW{.count = param->value.count(),
                 .param = param->value.f32(),
                 .m = state.m.f32(),
                 .v = state.v.f32(),
                 .grad = param->slot.grad.f32(),
                 .lr = static_cast<float>(lr),
                 .beta1 = static_cast<float>(options_.beta1),
                 .beta2 = static_cast<float>(options_.beta2),
                 .eps = static_cast<float>(options_.eps),
                 .weight_decay = param->decay ? static_cast<float>(options_.weight_decay) : 0.0f,
                 .correction1 = correction(options_.beta1),
                 .correction2 = correction(options_.beta2),
                 .grad_scale = static_cast<float>(scale)});
  }
}

}  // namespace um
