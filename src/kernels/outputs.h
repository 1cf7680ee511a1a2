// What each kernel writes, for checks that walk over results: visit_outputs(args, f) calls
// f(name, data, rows, cols, ld) for every f32 output (data may be null).
#pragma once

#include "kernels/args.h"

namespace um {

template <class F>
void visit_outputs(const Matmul& a, F f) {
  f("c", a.c, a.batch == 1 ? a.m : 0, a.n, a.ldc);
}
template <class F>
void visit_outputs(const GroupedMatmul& a, F f) {
  f("c", a.c, a.kind == GroupedMatmul::Kind::grad_weight ? a.groups * a.n : a.rows,
    a.kind == GroupedMatmul::Kind::forward ? a.n : a.k, a.ldc);
  f("swiglu", a.swiglu, a.rows, a.n / 2, a.n / 2);
}
template <class F>
void visit_outputs(const RmsNorm& a, F f) {
  f("y", a.y, a.rows, a.cols, a.ldy);
}
template <class F>
void visit_outputs(const RmsNormGrad& a, F f) {
  f("dx", a.dx, a.rows, a.cols, a.lddx);
  f("dgain", a.dgain, 1, a.cols, a.cols);
}
template <class F>
void visit_outputs(const ResidualNorm& a, F f) {
  f("y", a.y, a.rows, a.cols, a.cols);
  f("z", a.z, a.rows, a.cols, a.cols);
}
template <class F>
void visit_outputs(const ResidualNormGrad& a, F f) {
  f("dx", a.dx, a.rows, a.cols, a.cols);
  f("dv", a.dv, a.rows, a.cols, a.cols);
  f("dgain_post", a.dgain_post, 1, a.cols, a.cols);
  f("dgain_pre", a.dgain_pre, 1, a.cols, a.cols);
}
template <class F>
void visit_outputs(const Rope& a, F f) {
  f("y", a.y, a.rows, a.heads * a.head_dim, a.ldy);
}
template <class F>
void visit_outputs(const LatentNormRope& a, F f) {
  if (a.slots == nullptr) {
    f("latent", a.latent, a.rows, a.rank, a.ld_latent);
    f("k_rope", a.k_rope, a.rows, a.dim, a.ld_k_rope);
    return;
  }
  for (int64_t row = 0; row < a.rows; ++row) {
    f("latent", a.latent + a.slots[row] * a.ld_latent, 1, a.rank, a.ld_latent);
    f("k_rope", a.k_rope + a.slots[row] * a.ld_k_rope, 1, a.dim, a.ld_k_rope);
  }
}
template <class F>
void visit_outputs(const LatentNormRopeGrad& a, F f) {
  f("dkv_a", a.dkv_a, a.rows, a.rank + a.dim, a.rank + a.dim);
  f("dgain", a.dgain, 1, a.rank, a.rank);
}
template <class F>
void visit_outputs(const Attention& a, F f) {
  const int64_t begin = a.q_offsets[0], rows = a.q_offsets[a.sequences] - begin;
  f("out", a.out + (begin - a.first_row) * a.ld_out, rows, a.heads * a.v_dim, a.ld_out);
}
template <class F>
void visit_outputs(const AttentionGrad& a, F f) {
  const Attention& m = a.forward;
  const int64_t keys = m.kv_offsets[m.sequences];
  f("dq", a.dq, m.q_offsets[m.sequences], m.heads * (m.qk_dim + m.rope_dim), m.ldq);
  // A head's keys and values may lie between those of others.
  for (int64_t h = 0; h < m.kv_heads; ++h) {
    f("dk", a.dk == nullptr ? nullptr : a.dk + h * m.k_head_stride, keys, m.qk_dim, m.ldk);
    f("dv", a.dv == nullptr ? nullptr : a.dv + h * m.v_head_stride, keys, m.v_dim, m.ldv);
  }
  f("dk_rope", a.dk_rope, keys, m.rope_dim, m.ld_k_rope);
}
template <class F>
void visit_outputs(const KeyMask&, F) {}
template <class F>
void visit_outputs(const CausalConv& a, F f) {
  f("y", a.y, a.rows, a.cols, a.ldy);
}
template <class F>
void visit_outputs(const CausalConvGrad& a, F f) {
  f("dx", a.dx, a.forward.rows, a.forward.cols, a.forward.cols);
  f("dweight", a.dweight, a.forward.channels, a.forward.taps, a.forward.taps);
}
template <class F>
void visit_outputs(const StreamGates& a, F f) {
  f("pre", a.pre, a.rows, a.streams, a.streams);
  f("post", a.post, a.rows, a.streams * (a.streams + 1), a.streams * (a.streams + 1));
}
template <class F>
void visit_outputs(const StreamGatesGrad& a, F f) {
  f("du", a.du, a.forward.rows, a.forward.width(), a.forward.width());
  f("dalpha", a.dalpha, 1, a.forward.post == nullptr ? 1 : 3, 3);
  f("dbeta", a.dbeta, 1, a.forward.width(), a.forward.width());
}
template <class F>
void visit_outputs(const StreamMix& a, F f) {
  f("out", a.out, a.rows, a.outputs * a.width, a.outputs * a.width);
}
template <class F>
void visit_outputs(const StreamMixGrad& a, F f) {
  const StreamMix& m = a.forward;
  f("dweights", a.dweights, m.rows, m.outputs * m.inputs(), m.outputs * m.inputs());
  f("dx", a.dx, m.rows, m.streams * m.width, m.streams * m.width);
  f("dy", a.dy, m.rows, m.width, m.width);
}
template <class F>
void visit_outputs(const Swiglu& a, F f) {
  f("act", a.act, a.rows, a.width, a.width);
}
template <class F>
void visit_outputs(const SwigluGrad& a, F f) {
  f("dh", a.dh, a.rows, 2 * a.width, 2 * a.width);
  f("weighted_act", a.weighted_act, a.rows, a.width, a.width);
}
template <class F>
void visit_outputs(const Router& a, F f) {
  f("scores", a.scores, a.tokens, a.experts, a.experts);
  f("weights", a.weights, a.tokens, a.top_k, a.top_k);
}
template <class F>
void visit_outputs(const RouterGrad& a, F f) {
  f("dlogits", a.dlogits, a.tokens, a.experts, a.experts);
}
template <class F>
void visit_outputs(const BalanceStats&, F) {}
template <class F>
void visit_outputs(const MoePermute&, F) {}
template <class F>
void visit_outputs(const MoeCombine& a, F f) {
  f("out", a.out, a.tokens, a.cols, a.cols);
}
template <class F>
void visit_outputs(const MoeScatter& a, F f) {
  f("dx", a.dx, a.tokens, a.cols, a.cols);
}
template <class F>
void visit_outputs(const Embedding& a, F f) {
  f("y", a.y, a.tokens, a.cols, a.cols);
}
template <class F>
void visit_outputs(const EmbeddingGrad& a, F f) {
  f("dtable", a.dtable, a.vocab, a.cols, a.cols);
}
template <class F>
void visit_outputs(const CrossEntropy& a, F f) {
  f("loss", a.loss, 1, a.rows, a.rows);
  f("dlogits", a.dlogits, a.rows, a.vocab, a.ld);
}
template <class F>
void visit_outputs(const BiasGrad& a, F f) {
  f("dbias", a.dbias, 1, a.cols, a.cols);
}
template <class F>
void visit_outputs(const Add& a, F f) {
  f("y", a.y, 1, a.count, a.count);
}
template <class F>
void visit_outputs(const CopyBlocks&, F) {}
template <class F>
void visit_outputs(const RotateRows& a, F f) {
  f("y", a.y, a.rows, a.width, a.ldy);
}
template <class F>
void visit_outputs(const QuantizeRows&, F) {}
template <class F>
void visit_outputs(const NarrowRows&, F) {}
template <class F>
void visit_outputs(const DequantizeRows& a, F f) {
  f("y", a.y, a.rows, a.width, a.ldy);
}
template <class F>
void visit_outputs(const AdamW& a, F f) {
  f("param", a.param, 1, a.count, a.count);
}
template <class F>
void visit_outputs(const SumSquares&, F) {}

}  // namespace um
