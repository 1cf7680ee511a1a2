// See attention.h.
#include "ops/attention.h"

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

/// What is common to all layouts; k, v and their strides are filled in by the callers.
Attention common(const Tensor& q, int64_t heads, int64_t kv_heads, float scale,
                 const Ragged& rows) {
  return {.heads = heads,
          .kv_heads = kv_heads,
          .sequences = rows.sequences,
          .q_offsets = rows.q_offsets.i64(),
          .kv_offsets = rows.kv_offsets.i64(),
          .first_row = rows.first_row,
          .q = q.f32(),
          .ldq = q.ld(),
          .scale = scale};
}

void set_keys(Attention& args, const Rows& k, const Rows& v, const PageTable& table) {
  if (k.format != kF32Rows) {
    args.narrow_k = k.view();
    args.narrow_v = v.view();
  } else {
    args.k = k.values.f32();
    args.ldk = k.values.ld();
    args.v = v.values.f32();
    args.ldv = v.values.ld();
  }
  args.pages = table.pages.i32();
  args.ld_pages = table.pages.ld();
  args.page_rows = table.page_rows;
}

void set_mask(Attention& args, const Tensor& mask) {
  if (!mask) return;
  args.mask = mask.i64();
  args.ld_mask = mask.ld();
}

/// Runs the forward into a new output; `lse` is made when a gradient will be wanted.
Tensor run(Attention& args, const Tensor& q, Tensor* lse) {
  Tensor out = Tensor::empty(q.device(), {q.rows(), args.heads * args.v_dim});
  args.out = out.f32();
  args.ld_out = out.cols();
  if (lse != nullptr) {
    *lse = Tensor::empty(q.device(), {args.heads, q.rows()});
    args.lse = lse->f32();
  }
  launch(q.device(), args);
  return out;
}

/// Keeps every tensor the argument struct points into.
struct AttentionNode {
  Attention args;
  Tensor q, k, v, k_rope, out, lse, q_offsets, kv_offsets, mask;
  GradSlot *out_slot, *q_slot, *k_slot, *v_slot, *k_rope_slot;

  void backward() {
    const Tensor dout = take_grad(out_slot);
    if (!dout) return;
    const bool packed = !v;  // MLA: k and v interleaved per head in one tensor
    const GradOut dq = grad_out(q_slot, q), dk = grad_out(k_slot, k);
    const GradOut dv = packed ? dk : grad_out(v_slot, v);
    const GradOut dk_rope = k_rope ? grad_out(k_rope_slot, k_rope) : GradOut{};
    float* dv_data = packed && dk.data != nullptr ? dk.data + args.qk_dim : dv.data;
    launch(q.device(), AttentionGrad{.forward = args,
                                     .dout = dout.f32(),
                                     .dq = dq.data,
                                     .dk = dk.data,
                                     .dk_rope = dk_rope.data,
                                     .dv = dv_data,
                                     .accumulate_dq = dq.accumulate,
                                     .accumulate_dk = dk.accumulate,
                                     .accumulate_dk_rope = dk_rope.accumulate,
                                     .accumulate_dv = dv.accumulate});
  }
};

/// Runs the forward and records it where a gradient is wanted. `v` undefined: packed with k (MLA).
Tensor run_recorded(Attention& args, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& k_rope, const Ragged& rows, const Tensor& mask = {}) {
  set_mask(args, mask);
  if (!needs_grad(q, k, v, k_rope)) return run(args, q, nullptr);
  Tensor lse;
  Tensor out = run(args, q, &lse);
  GradSlot* out_slot = track(out);
  Tape::current()->record(AttentionNode{args, detach(q), detach(k), detach(v), detach(k_rope),
                                        detach(out), lse, rows.q_offsets, rows.kv_offsets, mask,
                                        out_slot, q.slot(), k.slot(), v.slot(), k_rope.slot()});
  return out;
}

}  // namespace

Tensor attention_gqa(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                     int64_t kv_heads, float scale, const Ragged& rows) {
  Attention args = common(q, heads, kv_heads, scale, rows);
  args.qk_dim = args.k_head_stride = q.cols() / heads;
  args.v_dim = args.v_head_stride = v.cols() / kv_heads;
  args.k = k.f32();
  args.ldk = k.ld();
  args.v = v.f32();
  args.ldv = v.ld();
  return run_recorded(args, q, k, v, {}, rows);
}

Tensor attention_gqa_cached(const Tensor& q, const Rows& k, const Rows& v, int64_t heads,
                            int64_t kv_heads, float scale, const Ragged& rows,
                            const PageTable& pages) {
  Attention args = common(q, heads, kv_heads, scale, rows);
  args.qk_dim = args.k_head_stride = q.cols() / heads;
  args.v_dim = args.v_head_stride = v.cols() / kv_heads;
  set_keys(args, k, v, pages);
  return run(args, q, nullptr);
}

Tensor attention_mla(const Tensor& q, const Tensor& kv, const Tensor& k_rope, int64_t heads,
                     int64_t nope, float scale, const Ragged& rows, const Tensor& mask) {
  Attention args = common(q, heads, heads, scale, rows);
  args.qk_dim = nope;
  args.rope_dim = k_rope.cols();
  args.v_dim = kv.cols() / heads - nope;
  args.k = kv.f32();
  args.v = kv.f32() == nullptr ? nullptr : kv.f32() + nope;
  args.ldk = args.ldv = kv.ld();
  args.k_head_stride = args.v_head_stride = nope + args.v_dim;
  args.k_rope = k_rope.f32();
  args.ld_k_rope = k_rope.ld();
  return run_recorded(args, q, kv, {}, k_rope, rows, mask);
}

Tensor attention_latent(const Tensor& q, const Rows& latents, int64_t heads, int64_t rank,
                        float scale, const Ragged& rows, const PageTable& pages,
                        const Tensor& mask) {
  Attention args = common(q, heads, 1, scale, rows);
  args.qk_dim = latents.cols();
  args.v_dim = rank;
  set_keys(args, latents, latents, pages);
  set_mask(args, mask);
  return run(args, q, nullptr);
}

}  // namespace um
