// y = x · Wᵀ + b and its gradient.
#pragma once

#include "core/tensor.h"

namespace um {

/// x [T, in], weight [out, in], bias [out] or undefined → [T, out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

namespace detail {
/// y[T,out] = x[T,in] · weight[out,in]ᵀ (+ bias), no gradient.
Tensor linear_forward(const Tensor& x, const Tensor& weight, const Tensor& bias);
}  // namespace detail

/// The three gradients of a linear layer, each into its slot (null: not wanted).
struct GradSlot;
void linear_grad(const Tensor& dy, const Tensor& x, const Tensor& weight, GradSlot* dx,
                 GradSlot* dw, GradSlot* db);

}  // namespace um
