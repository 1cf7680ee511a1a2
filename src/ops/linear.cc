// See linear.h.
#include "ops/linear.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct LinearNode {
  Tensor x, weight;
  GradSlot *y_slot, *x_slot, *weight_slot, *bias_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (dy) linear_grad(dy, x, weight, x_slot, weight_slot, bias_slot);
  }
};

}  // namespace

Tensor detail::linear_forward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t out = weight.rows(), in = weight.cols();
  UM_CHECK(x.cols() == in, "linear: input {} against weight {}", x.shape().text(),
           weight.shape().text());
  Tensor y = Tensor::empty(x.device(), {x.rows(), out});
  launch(x.device(), Matmul{.m = x.rows(),
                            .n = out,
                            .k = in,
                            .a = x.f32(),
                            .lda = x.ld(),
                            .b = weight_ptr(weight),
                            .ldb = weight.ld(),
                            .trans_b = true,
                            .c = y.f32(),
                            .ldc = out,
                            .bias = bias ? bias.f32() : nullptr});
  return y;
}

void linear_grad(const Tensor& dy, const Tensor& x, const Tensor& weight, GradSlot* dx,
                 GradSlot* dw, GradSlot* db) {
  const int64_t rows = dy.rows(), out = weight.rows(), in = weight.cols();
  Device& device = dy.device();
  if (const GradOut grad = grad_out(dx, x); grad.wanted) {
    launch(device, Matmul{.m = rows,
                          .n = in,
                          .k = out,
                          .a = dy.f32(),
                          .lda = dy.ld(),
                          .b = weight.f32(),
                          .ldb = weight.ld(),
                          .c = grad.data,
                          .ldc = in,
                          .accumulate = grad.accumulate});
  }
  if (const GradOut grad = grad_out(dw, weight); grad.wanted) {
    launch(device, Matmul{.m = out,
                          .n = in,
                          .k = rows,
                          .a = dy.f32(),
                          .lda = dy.ld(),
                          .trans_a = true,
                          .b = x.f32(),
                          .ldb = x.ld(),
                          .c = grad.data,
                          .ldc = in,
                          .accumulate = grad.accumulate});
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

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tensor y = detail::linear_forward(x, weight, bias);
  if (needs_grad(x, weight, bias))
    Tape::current()->record(LinearNode{x, weight, track(y), x.slot(), weight.slot(), bias.slot()});
  return y;
}

}  // namespace um
