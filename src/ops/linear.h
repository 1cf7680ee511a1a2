// y = x · Wᵀ + b and its gradient.
#pragma once

#include "kernels/args/matmul.h"
#include "ops/rows.h"

namespace um {

/// What weights are multiplied with: f32 rows [T, in], and their int8 form for weights in integers,
/// which is made when the first of them asks and shared by all that read the same rows.
class LinearInput {
 public:
  LinearInput(const Tensor& rows) : rows_(rows) {}
  const Tensor& rows() const { return rows_; }
  /// The rows as a product with `weight` takes them: as they are, or as int8.
  RowsView for_weight(const Rows& weight) const;

 private:
  Tensor rows_;
  mutable std::vector<Rows> int8_;  // of different groups
};

/// x [T, in], weight [out, in], bias [out] or undefined → [T, out]. Weights in integers
/// make it a product of integers, without gradient: throws Error where one is wanted.
Tensor linear(const LinearInput& x, const Rows& weight, const Tensor& bias = {});
/// The same in f32 whatever the device rounds operands to: for routers, gates and
/// indexers, which decide.
Tensor linear_f32(const LinearInput& x, const Rows& weight);

namespace detail {
/// y[T,out] = x[T,in] · weight[out,in]ᵀ (+ bias), no gradient.
Tensor linear_forward(const LinearInput& x, const Rows& weight, const Tensor& bias,
                      Operands operands);
}  // namespace detail

/// The three gradients of a linear layer, each into its slot (null: not wanted).
struct GradSlot;
void linear_grad(const Tensor& dy, const Tensor& x, const Tensor& weight, Operands operands,
                 GradSlot* dx, GradSlot* dw, GradSlot* db);

}  // namespace um
