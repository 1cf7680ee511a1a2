// See norm.h.
#include "ops/norm.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

/// One RMSNorm from x into a column range of y; returns the inverse RMS of what was normed. A gain
/// narrower than x norms each part of a row of its width (all contiguous then).
Tensor norm_into(const Tensor& x, const Tensor& gain, float eps, const Tensor& y) {
  const int64_t cols = gain.count(), parts = x.cols() / cols;
  UM_CHECK(x.cols() % cols == 0 && (parts == 1 || x.contiguous()), "rmsnorm: a gain of {} for {}",
           cols, x.shape().text());
  Tensor inv = Tensor::empty(x.device(), {x.rows() * parts});
  launch(x.device(), RmsNorm{.rows = x.rows() * parts,
                             .cols = cols,
                             .x = x.f32(),
                             .ldx = parts == 1 ? x.ld() : cols,
                             .gain = gain.f32(),
                             .eps = eps,
                             .y = y.f32(),
                             .ldy = parts == 1 ? y.ld() : cols,
                             .inv_rms = inv.f32()});
  return inv;
}

void norm_grad(const Tensor& dy, const Tensor& x, const Tensor& gain, const Tensor& inv,
               GradSlot* x_slot, GradSlot* gain_slot) {
  const GradOut dx = grad_out(x_slot, x), dgain = grad_out(gain_slot, gain);
  const int64_t cols = gain.count(), parts = x.cols() / cols;
  launch(dy.device(), RmsNormGrad{.rows = x.rows() * parts,
                                  .cols = cols,
                                  .dy = dy.f32(),
                                  .ldy = parts == 1 ? dy.ld() : cols,
                                  .x = x.f32(),
                                  .ldx = parts == 1 ? x.ld() : cols,
                                  .gain = gain.f32(),
                                  .inv_rms = inv.f32(),
                                  .dx = dx.data,
                                  .lddx = cols,
                                  .accumulate_dx = dx.accumulate,
                                  .dgain = dgain.data,
                                  .accumulate_dgain = dgain.accumulate});
}

struct RmsNormNode {
  Tensor x, gain, inv;
  GradSlot *y_slot, *x_slot, *gain_slot;
  void backward() {
    if (const Tensor dy = take_grad(y_slot)) norm_grad(dy, x, gain, inv, x_slot, gain_slot);
  }
};

struct ConcatNormNode {
  Tensor a, gain_a, inv_a, b, gain_b, inv_b;
  GradSlot *y_slot, *a_slot, *gain_a_slot, *b_slot, *gain_b_slot;
  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (!dy) return;
    norm_grad(dy.col_range(0, a.cols()), a, gain_a, inv_a, a_slot, gain_a_slot);
    norm_grad(dy.col_range(a.cols(), dy.cols()), b, gain_b, inv_b, b_slot, gain_b_slot);
  }
};

struct ResidualNode {
  Tensor v, y, gain_post, gain_pre, inv_v, inv_y;
  GradSlot *y_slot, *z_slot, *x_slot, *v_slot, *post_slot, *pre_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot), dz = take_grad(z_slot);
    if (!dy && !dz) return;
    // The stream's gradient passes through: its buffer becomes the gradient of x.
    const Tensor dx = dy ? dy : Tensor::empty(y.device(), y.shape());
    const GradOut dv = grad_out(v_slot, v);
    const GradOut post = gain_post ? grad_out(post_slot, gain_post) : GradOut{};
    const GradOut pre = grad_out(dz ? pre_slot : nullptr, gain_pre);
    launch(y.device(), ResidualNormGrad{.rows = y.rows(),
                                        .cols = y.cols(),
                                        .dy = dy ? dy.f32() : nullptr,
                                        .dz = dz ? dz.f32() : nullptr,
                                        .v = v.f32(),
                                        .y = y.f32(),
                                        .gain_post = gain_post ? gain_post.f32() : nullptr,
                                        .gain_pre = gain_pre.f32(),
                                        .inv_v = inv_v.f32(),
                                        .inv_y = inv_y.f32(),
                                        .dx = dx.f32(),
                                        .accumulate_dx = false,
                                        .dv = dv.data,
                                        .accumulate_dv = dv.accumulate,
                                        .dgain_post = post.data,
                                        .dgain_pre = pre.data,
                                        .accumulate_dgain_post = post.accumulate,
                                        .accumulate_dgain_pre = pre.accumulate});
    give_grad(x_slot, dx);
  }
};

}  // namespace

Tensor rmsnorm(const Tensor& x, const Tensor& gain, float eps) {
  Tensor y = Tensor::empty(x.device(), x.shape());
  Tensor inv = norm_into(x, gain, eps, y);
  if (needs_grad(x, gain))
    Tape::current()->record(RmsNormNode{x, gain, std::move(inv), track(y), x.slot(), gain.slot()});
  return y;
}

Tensor concat_norm(const Tensor& a, const Tensor& gain_a, const Tensor& b, const Tensor& gain_b,
                   float eps) {
  Tensor y = Tensor::empty(a.device(), {a.rows(), a.cols() + b.cols()});
  Tensor inv_a = norm_into(a, gain_a, eps, y.col_range(0, a.cols()));
  Tensor inv_b = norm_into(b, gain_b, eps, y.col_range(a.cols(), y.cols()));
  if (needs_grad(a, gain_a, b, gain_b))
    Tape::current()->record(ConcatNormNode{a, gain_a, std::move(inv_a), b, gain_b, std::move(inv_b),
                                           track(y), a.slot(), gain_a.slot(), b.slot(),
                                           gain_b.slot()});
  return y;
}

Residual residual_norm(const Tensor& x, const Tensor& v, const Tensor& gain_post,
                       const Tensor& gain_pre, float eps) {
  Device& device = x.device();
  Residual out{Tensor::empty(device, x.shape()), Tensor::empty(device, x.shape())};
  Tensor inv_v = Tensor::empty(device, {x.rows()}), inv_y = Tensor::empty(device, {x.rows()});
  launch(device, ResidualNorm{.rows = x.rows(),
                              .cols = x.cols(),
                              .x = x.f32(),
                              .v = v.f32(),
                              .gain_post = gain_post ? gain_post.f32() : nullptr,
                              .gain_pre = gain_pre.f32(),
                              .eps = eps,
                              .y = out.y.f32(),
                              .z = out.z.f32(),
                              .inv_v = inv_v.f32(),
                              .inv_y = inv_y.f32()});
  if (needs_grad(x, v, gain_post, gain_pre)) {
    GradSlot* y_slot = track(out.y);
    GradSlot* z_slot = track(out.z);
    Tape::current()->record(ResidualNode{detach(v), detach(out.y), gain_post, gain_pre,
                                         std::move(inv_v), std::move(inv_y), y_slot, z_slot,
                                         x.slot(), v.slot(), gain_post.slot(), gain_pre.slot()});
  }
  return out;
}

}  // namespace um
