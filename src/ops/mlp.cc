// See mlp.h.
#include "ops/mlp.h"

#include "ops/launch.h"
#include "ops/linear.h"
#include "ops/tape.h"

namespace um {
namespace {

struct MlpNode {
  Tensor x, h, gate_up, down;
  Operands operands;
  GradSlot *y_slot, *x_slot, *gate_up_slot, *down_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (!dy) return;
    Device& device = dy.device();
    const int64_t rows = dy.rows(), width = down.cols();
    const Tensor act = Tensor::empty(device, {rows, width});
    const Tensor dh = Tensor::empty(device, h.shape());
    {
      GradSlot dact;
      linear_grad(dy, act, down, operands, &dact, nullptr, nullptr);
      launch(device, SwigluGrad{.rows = rows,
                                .width = width,
                                .h = h.f32(),
                                .dact = dact.grad.f32(),
                                .dh = dh.f32(),
                                .weighted_act = act.f32()});
    }
    linear_grad(dy, act, down, operands, nullptr, down_slot, nullptr);
    linear_grad(dh, x, gate_up, operands, x_slot, gate_up_slot, nullptr);
  }
};

}  // namespace

Tensor swiglu_mlp(const LinearInput& input, const Rows& gate_up, const Rows& down) {
  const Tensor& x = input.rows();
  const Operands operands = x.device().operands();
  Tensor h = detail::linear_forward(input, gate_up, {}, operands);
  const Tensor act = Tensor::empty(x.device(), {x.rows(), down.cols()});
  launch(x.device(),
         Swiglu{.rows = x.rows(), .width = down.cols(), .h = h.f32(), .act = act.f32()});
  Tensor y = detail::linear_forward(act, down, {}, operands);
  if (needs_grad(x, gate_up.values, down.values))
    Tape::current()->record(MlpNode{detach(x), std::move(h), gate_up.trained(), down.trained(),
                                    operands, track(y), x.slot(), gate_up.slot(), down.slot()});
  return y;
}

}  // namespace um
