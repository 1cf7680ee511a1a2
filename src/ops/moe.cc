// See moe.h. The routing weights are applied when experts' outputs are combined, so the gradient
// needs neither those outputs nor the activations: <dout, y> = <dact, act>, and act is recomputed
// from h.
#include "ops/moe.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct RouterNode {
  RouterRule rule;
  Tensor scores, ids, expert_scale, sequence_of;
  std::shared_ptr<const BalanceTerm> balance;
  GradSlot *weights_slot, *logits_slot, *scale_slot;

  void backward() {
    const Tensor dweights = take_grad(weights_slot);
    const Tensor coefficients = balance ? balance->coefficients : Tensor();
    if (!dweights && !coefficients) return;
    const int64_t experts = scores.cols();
    Tensor dlogits = Tensor::empty(scores.device(), scores.shape());
    const GradOut dscale = expert_scale ? grad_out(scale_slot, expert_scale) : GradOut{};
    const bool per_sequence = coefficients && balance->per_sequence;
    launch(scores.device(), RouterGrad{.tokens = scores.rows(),
                                       .experts = experts,
                                       .top_k = ids.cols(),
                                       .rule = rule,
                                       .scores = scores.f32(),
                                       .ids = ids.i32(),
                                       .expert_scale = expert_scale ? expert_scale.f32() : nullptr,
                                       .dweights = dweights ? dweights.f32() : nullptr,
                                       .balance = coefficients ? coefficients.f32() : nullptr,
                                       .balance_stride = per_sequence ? experts : 0,
                                       .sequence_of = per_sequence ? sequence_of.i32() : nullptr,
                                       .dlogits = dlogits.f32(),
                                       .dexpert_scale = dscale.data,
                                       .accumulate_dexpert_scale = dscale.accumulate});
    give_grad(logits_slot, dlogits);
  }
};

/// Grouped matmul arguments that all six products of an MoE layer share.
GroupedMatmul grouped(GroupedMatmul::Kind kind, const Routing& routing, int64_t n, int64_t k,
                      Operands operands) {
  return {.kind = kind,
          .groups = routing.counts.count(),
          .rows = routing.token.count(),
          .n = n,
          .k = k,
          .offsets = routing.offsets.i64(),
          .operands = operands};
}

void weight_grad(const Routing& routing, Operands operands, const Tensor& weight, GradSlot* slot,
                 const Tensor& a, const int32_t* gather_a, const Tensor& x,
                 const int32_t* gather_x) {
  const GradOut grad = grad_out(slot, weight);
  if (!grad.wanted) return;
  GroupedMatmul args =
      grouped(GroupedMatmul::Kind::grad_weight, routing, a.cols(), x.cols(), operands);
  args.a = rows_view(a);
  args.gather_a = gather_a;
  args.x = rows_view(x);
  args.gather_x = gather_x;
  args.c = grad.data;
  args.ldc = x.cols();
  args.accumulate = grad.accumulate;
  launch(a.device(), args);
}

Tensor input_grad(const Routing& routing, Operands operands, const Tensor& weight, const Tensor& a,
                  const int32_t* gather_a) {
  const int64_t n = a.cols(), k = weight.cols();
  Tensor out = Tensor::empty(a.device(), {routing.token.count(), k});
  GroupedMatmul args = grouped(GroupedMatmul::Kind::grad_input, routing, n, k, operands);
  args.a = rows_view(a);
  args.gather_a = gather_a;
  args.b = rows_view(weight);
  args.c = out.f32();
  args.ldc = k;
  launch(a.device(), args);
  return out;
}

struct ExpertsNode {
  Routing routing;
  Tensor x, h, gate_up, down;
  Operands operands;
  GradSlot *out_slot, *x_slot, *weights_slot, *gate_up_slot, *down_slot, *base_slot;

  void backward() {
    const Tensor dout = take_grad(out_slot);
    if (!dout) return;
    Device& device = dout.device();
    const int64_t assignments = routing.token.count(), width = down.cols();
    const int32_t* token = routing.token.i32();
    const Tensor dh = Tensor::empty(device, h.shape());
    const Tensor weighted = Tensor::empty(device, {assignments, width});
    Tensor dweights = Tensor::empty(device, routing.weights.shape());
    {
      const Tensor dact = input_grad(routing, operands, down, dout, token);
      launch(device, SwigluGrad{.rows = assignments,
                                .width = width,
                                .h = h.f32(),
                                .dact = dact.f32(),
                                .weight = routing.weights.f32(),
                                .assignment = routing.assignment.i32(),
                                .dh = dh.f32(),
                                .weighted_act = weighted.f32(),
                                .dweight = dweights.f32()});
    }
    give_grad(weights_slot, std::move(dweights));
    weight_grad(routing, operands, down, down_slot, dout, token, weighted, nullptr);
    weight_grad(routing, operands, gate_up, gate_up_slot, dh, nullptr, x, token);
    if (const GradOut dx = grad_out(x_slot, x); dx.wanted) {
      const Tensor dslots = input_grad(routing, operands, gate_up, dh, nullptr);
      launch(device, MoeScatter{.tokens = x.rows(),
                                .top_k = routing.ids.cols(),
                                .cols = x.cols(),
                                .dslots = dslots.f32(),
                                .slot = routing.slot.i32(),
                                .dx = dx.data,
                                .accumulate = dx.accumulate});
    }
    give_grad(base_slot, dout);
  }
};

}  // namespace

Routing route(const Tensor& logits, const Tensor& bias, const Tensor& expert_scale,
              const RouterRule& rule, int64_t top_k, const Ragged& rows,
              std::shared_ptr<BalanceTerm> balance, const Tensor& chosen) {
  Device& device = logits.device();
  if (balance) balance->device = &device;
  const int64_t tokens = logits.rows(), experts = logits.cols(), assignments = tokens * top_k;
  UM_CHECK(!chosen || chosen.shape() == Shape({tokens, top_k}),
           "routes: experts {} for a router of {} tokens and {} experts each",
           chosen.shape().text(), tokens, top_k);
  Routing out{.ids = Tensor::empty(device, {tokens, top_k}, DType::i32),
              .weights = Tensor::empty(device, {tokens, top_k}),
              .scores = Tensor::empty(device, {tokens, experts}),
              .counts = Tensor::empty(device, {experts}, DType::i64),
              .offsets = Tensor::empty(device, {experts + 1}, DType::i64),
              .assignment = Tensor::empty(device, {assignments}, DType::i32),
              .token = Tensor::empty(device, {assignments}, DType::i32),
              .slot = Tensor::empty(device, {tokens, top_k}, DType::i32)};
  launch(device, Router{.tokens = tokens,
                        .experts = experts,
                        .top_k = top_k,
                        .rule = rule,
                        .logits = logits.f32(),
                        .bias = bias ? bias.f32() : nullptr,
                        .expert_scale = expert_scale ? expert_scale.f32() : nullptr,
                        .chosen = chosen ? chosen.i32() : nullptr,
                        .scores = out.scores.f32(),
                        .ids = out.ids.i32(),
                        .weights = out.weights.f32(),
                        .counts = out.counts.i64()});
  launch(device, MoePermute{.tokens = tokens,
                            .experts = experts,
                            .top_k = top_k,
                            .ids = out.ids.i32(),
                            .offsets = out.offsets.i64(),
                            .assignment = out.assignment.i32(),
                            .token = out.token.i32(),
                            .slot = out.slot.i32()});
  if (needs_grad(logits, expert_scale))
    Tape::current()->record(RouterNode{rule, out.scores, out.ids, expert_scale, rows.sequence_of,
                                       std::move(balance), track(out.weights), logits.slot(),
                                       expert_scale.slot()});
  return out;
}

namespace {

/// What of experts' work is kept for the gradient, and the result.
struct ExpertRows {
  Tensor h;    ///< [A, 2F] gate and up
  Tensor act;  ///< [A, F]
  Tensor y;    ///< [A, D]
  ExpertRows(Device& device, int64_t assignments, int64_t width, int64_t hidden)
      : h(Tensor::empty(device, {assignments, 2 * width})),
        act(Tensor::empty(device, {assignments, width})),
        y(Tensor::empty(device, {assignments, hidden})) {}
};

/// Experts [begin, end): expert e has the weights of index e, or slots[e - begin] where `slots` is
/// defined.
void run_experts(const LinearInput& x, const Routing& routing, const Rows& gate_up,
                 const Rows& down, int64_t begin, int64_t end, const Tensor& slots,
                 const ExpertRows& rows) {
  Device& device = x.rows().device();
  const int64_t width = rows.act.cols(), hidden = x.rows().cols();
  const auto part = [&](int64_t n, int64_t k) {
    GroupedMatmul args = grouped(GroupedMatmul::Kind::forward, routing, n, k, device.operands());
    args.groups = end - begin;
    if (args.offsets != nullptr) {
      args.offsets += begin;
      args.rows = args.offsets[end - begin] - args.offsets[0];
    }
    if (slots) args.slots = slots.i32();
    return args;
  };
  GroupedMatmul up = part(2 * width, hidden);
  up.a = x.for_weight(gate_up);
  up.gather_a = routing.token.i32();
  up.b = gate_up.view();
  up.c = rows.h.f32();
  up.ldc = 2 * width;
  up.swiglu = rows.act.f32();
  launch(device, up);
  GroupedMatmul back = part(hidden, width);
  const LinearInput act(rows.act);
  back.a = act.for_weight(down);
  back.b = down.view();
  back.c = rows.y.f32();
  back.ldc = hidden;
  launch(device, back);
}

Tensor combine(const Tensor& x, const Routing& routing, const Tensor& y, const Tensor& base) {
  Tensor out = Tensor::empty(x.device(), {x.rows(), x.cols()});
  launch(x.device(), MoeCombine{.tokens = x.rows(),
                                .top_k = routing.ids.cols(),
                                .cols = x.cols(),
                                .y = y.f32(),
                                .slot = routing.slot.i32(),
                                .weights = routing.weights.f32(),
                                .base = base ? base.f32() : nullptr,
                                .out = out.f32()});
  return out;
}

}  // namespace

Tensor moe_experts(const LinearInput& input, const Routing& routing, const Rows& gate_up,
                   const Rows& down, const Tensor& base) {
  const Tensor& x = input.rows();
  const int64_t experts = routing.counts.count();
  ExpertRows rows(x.device(), routing.token.count(), down.cols(), x.cols());
  run_experts(input, routing, gate_up, down, 0, experts, {}, rows);
  rows.act = {};
  Tensor out = combine(x, routing, rows.y, base);
  if (needs_grad(x, routing.weights, gate_up.values, down.values, base)) {
    const Tensor &up = gate_up.trained(), &back = down.trained();
    GradSlot* out_slot = track(out);
    Routing kept = routing;
    kept.weights = detach(routing.weights);
    Tape::current()->record(ExpertsNode{
        std::move(kept), detach(x), std::move(rows.h), up, back, x.device().operands(), out_slot,
        x.slot(), routing.weights.slot(), gate_up.slot(), down.slot(), base.slot()});
  }
  return out;
}

Tensor moe_experts(const LinearInput& input, const Routing& routing, ExpertSlots& experts,
                   const Tensor& base) {
  const Tensor& x = input.rows();
  const int64_t count = routing.counts.count();
  const ExpertRows rows(x.device(), routing.token.count(), experts.down().cols(), x.cols());
  for (int64_t begin = 0; begin < count;) {
    const ExpertSlots::Fetched now = experts.fetch(routing.offsets, begin);
    run_experts(input, routing, experts.gate_up(), experts.down(), begin, now.end, now.slots, rows);
    begin = now.end;
  }
  return combine(x, routing, rows.y, base);
}

}  // namespace um
