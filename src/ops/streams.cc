// See streams.h.
#include "ops/streams.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

constexpr float kEps = 1e-6f;  // whatever the model's norms have, as the released code does

struct GatesNode {
  StreamGates args;
  Tensor u, alpha, beta, pre, post;
  GradSlot *pre_slot, *post_slot, *u_slot, *alpha_slot, *beta_slot;

  void backward() {
    const Tensor dpre = take_grad(pre_slot), dpost = take_grad(post_slot);
    if (!dpre && !dpost) return;
    const GradOut du = grad_out(u_slot, u), dalpha = grad_out(alpha_slot, alpha);
    const GradOut dbeta = grad_out(beta_slot, beta);
    launch(u.device(), StreamGatesGrad{.forward = args,
                                       .dpre = dpre ? dpre.f32() : nullptr,
                                       .dpost = dpost ? dpost.f32() : nullptr,
                                       .du = du.data,
                                       .accumulate_du = du.accumulate,
                                       .dalpha = dalpha.data,
                                       .dbeta = dbeta.data,
                                       .accumulate_dalpha = dalpha.accumulate,
                                       .accumulate_dbeta = dbeta.accumulate});
  }
};

StreamWeights run_gates(const Tensor& u, const Tensor& alpha, const Tensor& beta, int64_t streams,
                        int64_t steps) {
  Device& device = u.device();
  const int64_t T = u.rows();
  const bool both = steps > 0;
  UM_CHECK(streams > 0 && streams <= kMaxStreams && steps <= kMaxSinkhornSteps &&
               u.cols() == beta.count() && beta.count() == streams * (both ? streams + 2 : 1),
           "weights of {} streams from {} and {}", streams, u.shape().text(), beta.shape().text());
  StreamWeights out{Tensor::empty(device, {T, streams}), {}};
  if (both) out.post = Tensor::empty(device, {T, streams * (streams + 1)});
  const StreamGates args{.rows = T,
                         .streams = streams,
                         .steps = steps,
                         .u = u.f32(),
                         .alpha = alpha.f32(),
                         .beta = beta.f32(),
                         .eps = kEps,
                         .pre = out.pre.f32(),
                         .post = both ? out.post.f32() : nullptr};
  launch(device, args);
  if (needs_grad(u, alpha, beta)) {
    GradSlot* pre_slot = track(out.pre);
    GradSlot* post_slot = both ? track(out.post) : nullptr;
    Tape::current()->record(GatesNode{args, detach(u), alpha, beta, detach(out.pre),
                                      both ? detach(out.post) : Tensor(), pre_slot, post_slot,
                                      u.slot(), alpha.slot(), beta.slot()});
  }
  return out;
}

struct MixNode {
  StreamMix args;
  Tensor x, y, weights;
  GradSlot *out_slot, *x_slot, *y_slot, *weights_slot;

  void backward() {
    const Tensor dout = take_grad(out_slot);
    if (!dout) return;
    const GradOut dx = grad_out(x_slot, x), dw = grad_out(weights_slot, weights);
    const GradOut dy = y ? grad_out(y_slot, y) : GradOut{};
    launch(x.device(), StreamMixGrad{.forward = args,
                                     .dout = dout.f32(),
                                     .dweights = dw.data,
                                     .dx = dx.data,
                                     .dy = dy.data,
                                     .accumulate_dweights = dw.accumulate,
                                     .accumulate_dx = dx.accumulate,
                                     .accumulate_dy = dy.accumulate});
  }
};

}  // namespace

StreamWeights stream_weights(const Tensor& u, const Tensor& alpha, const Tensor& beta,
                             int64_t streams, int64_t steps) {
  UM_CHECK(steps > 0, "{} Sinkhorn steps", steps);
  return run_gates(u, alpha, beta, streams, steps);
}

Tensor merge_weights(const Tensor& u, const Tensor& alpha, const Tensor& beta) {
  return run_gates(u, alpha, beta, u.cols(), 0).pre;
}

Tensor mix_streams(const Tensor& x, const Tensor& y, const Tensor& weights, int64_t streams) {
  const int64_t inputs = streams + (y ? 1 : 0), outputs = weights.cols() / inputs;
  const int64_t D = x.cols() / streams;
  UM_CHECK(x.cols() % streams == 0 && weights.cols() % inputs == 0 && x.contiguous() &&
               (!y || (y.cols() == D && y.contiguous())),
           "{} streams of {} mixed by {}", streams, x.shape().text(), weights.shape().text());
  Tensor out = Tensor::empty(x.device(), {x.rows(), outputs * D});
  const StreamMix args{.rows = x.rows(),
                       .outputs = outputs,
                       .streams = streams,
                       .width = D,
                       .weights = weights.f32(),
                       .x = x.f32(),
                       .y = y ? y.f32() : nullptr,
                       .out = out.f32()};
  launch(x.device(), args);
  if (needs_grad(x, y, weights))
    Tape::current()->record(MixNode{args, detach(x), detach(y), detach(weights), track(out),
                                    x.slot(), y.slot(), weights.slot()});
  return out;
}

}  // namespace um
