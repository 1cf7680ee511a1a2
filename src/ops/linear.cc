// See linear.h.
#include "ops/linear.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct LinearNode {
  Tensor x, weight;
  Operands operands;
  GradSlot *y_slot, *x_slot, *weight_slot, *bias_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (dy) linear_grad(dy, x, weight, operands, x_slot, weight_slot, bias_slot);
  }
};

Tensor linear_with(const LinearInput& input, const Rows& weight, const Tensor& bias,
                   Operands operands) {
  const Tensor& x = input.rows();
  Tensor y = detail::linear_forward(input, weight, bias, operands);
  if (needs_grad(x, weight.values, bias))
    Tape::current()->record(
        LinearNode{x, weight.trained(), operands, track(y), x.slot(), weight.slot(), bias.slot()});
  return y;
}

}  // namespace

RowsView LinearInput::for_weight(const Rows& weight) const {
  if (!weight.format.is_panels()) return rows_view(rows_);
  const RowFormat format = activation_format(weight.format);
  for (const Rows& made : int8_)
    if (made.format == format) return made.view();
  return int8_.emplace_back(Rows::quantized(rows_, format)).view();
}

Tensor detail::linear_forward(const LinearInput& input, const Rows& weight, const Tensor& bias,
                              Operands operands) {
  const Tensor& x = input.rows();
  const int64_t out = weight.rows(), in = weight.cols();
  UM_CHECK(x.cols() == in, "linear: input {} against weight [{}, {}]", x.shape().text(), out, in);
  Tensor y = Tensor::empty(x.device(), {x.rows(), out});
  launch(x.device(), Matmul{.m = x.rows(),
                            .n = out,
                            .k = in,
                            .a = input.for_weight(weight),
                            .b = weight.view(),
                            .trans_b = true,
                            .c = y.f32(),
                            .ldc = out,
                            .bias = bias ? bias.f32() : nullptr,
                            .operands = operands});
  return y;
}

void linear_grad(const Tensor& dy, const Tensor& x, const Tensor& weight, Operands operands,
                 GradSlot* dx, GradSlot* dw, GradSlot* db) {
  const int64_t rows = dy.rows(), out = weight.rows(), in = weight.cols();
  Device& device = dy.device();
  if (const GradOut grad = grad_out(dx, x); grad.wanted) {
    launch(device, Matmul{.m = rows,
                          .n = in,
                          .k = out,
                          .a = rows_view(dy),
                          .b = rows_view(weight),
                          .c = grad.data,
                          .ldc = in,
                          .accumulate = grad.accumulate,
                          .operands = operands});
  }
  if (const GradOut grad = grad_out(dw, weight); grad.wanted) {
    launch(device, Matmul{.m = out,
                          .n = in,
                          .k = rows,
                          .a = rows_view(dy),
                          .trans_a = true,
                          .b = rows_view(x),
                          .c = grad.data,
                          .ldc = in,
                          .accumulate = grad.accumulate,
                          .operands = operands});
  }
  if (db == nullptr) return;
  if (!db->grad) db->grad = Tensor::empty(device, {out});
  launch(device, BiasGrad{.rows = rows,
                          .cols = out,
                          .dy = dy.f32(),
                          .ld = dy.ld(),
                          .dbias = db->grad.f32(),
                          .accumulate = std::exchange(db->written, true)});
}

Tensor linear(const LinearInput& x, const Rows& weight, const Tensor& bias) {
  return linear_with(x, weight, bias, x.rows().device().operands());
}

Tensor linear_f32(const LinearInput& x, const Rows& weight) {
  return linear_with(x, weight, {}, Operands::f32);
}

}  // namespace um
