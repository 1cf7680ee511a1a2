// See causal_conv.h.
#include "ops/causal_conv.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct ConvNode {
  CausalConv args;
  Tensor x, weight, sources;
  GradSlot *y_slot, *x_slot, *weight_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (!dy) return;
    const GradOut dx = grad_out(x_slot, x), dw = grad_out(weight_slot, weight);
    launch(dy.device(), CausalConvGrad{.forward = args,
                                       .dy = dy.f32(),
                                       .dx = dx.data,
                                       .accumulate_dx = dx.accumulate,
                                       .dweight = dw.data,
                                       .accumulate_dweight = dw.accumulate});
  }
};

}  // namespace

Tensor causal_conv(const Tensor& x, const Tensor& weight, int64_t taps, const Tensor& sources,
                   const Tensor& past) {
  const int64_t channels = weight.count() / taps;
  UM_CHECK(weight.count() % taps == 0 && channels <= x.cols() &&
               sources.count() == x.rows() * (taps - 1) && (!past || past.cols() == channels),
           "a convolution of {} taps by {} of {}", taps, weight.shape().text(), x.shape().text());
  Tensor y = Tensor::empty(x.device(), {x.rows(), x.cols()});
  const CausalConv args{.rows = x.rows(),
                        .cols = x.cols(),
                        .channels = channels,
                        .taps = taps,
                        .x = x.f32(),
                        .ldx = x.ld(),
                        .weight = weight.f32(),
                        .sources = sources.i32(),
                        .past = past ? past.f32() : nullptr,
                        .ld_past = past ? past.ld() : 0,
                        .y = y.f32(),
                        .ldy = y.cols()};
  launch(x.device(), args);
  if (needs_grad(x, weight)) {
    UM_CHECK(!past, "a convolution behind a past has no gradient");
    Tape::current()->record(
        ConvNode{args, detach(x), weight, sources, track(y), x.slot(), weight.slot()});
  }
  return y;
}

}  // namespace um
