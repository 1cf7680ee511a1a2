// See rope.h.
#include "ops/rope.h"

#include <cmath>

#include "ops/launch.h"
#include "ops/tape.h"

namespace um {
namespace {

struct RopeNode {
  Tensor positions, table;
  int64_t heads, begin;
  bool interleave;
  GradSlot *y_slot, *x_slot;

  void backward() {
    const Tensor dy = take_grad(y_slot);
    if (!dy) return;
    const GradOut dx = grad_out(x_slot, dy);
    launch(dy.device(), Rope{.rows = dy.rows(),
                             .heads = heads,
                             .head_dim = dy.cols() / heads,
                             .begin = begin,
                             .dim = table.cols(),
                             .x = dy.f32(),
                             .ldx = dy.ld(),
                             .positions = positions.i32(),
                             .table = table.f32(),
                             .interleave = interleave,
                             .inverse = true,
                             .y = dx.data,
                             .ldy = dy.cols(),
                             .accumulate = dx.accumulate});
  }
};

void run_latent(const Tensor& kv_a, const Tensor& gain, float eps, const Tensor& positions,
                const Tensor& table, bool interleave, const Tensor& latent, const Tensor& k_rope,
                const Tensor& slots, float* inv_rms) {
  launch(kv_a.device(), LatentNormRope{.rows = kv_a.rows(),
                                       .rank = gain.count(),
                                       .dim = table.cols(),
                                       .kv_a = kv_a.f32(),
                                       .ld_kv_a = kv_a.ld(),
                                       .gain = gain.f32(),
                                       .eps = eps,
                                       .positions = positions.i32(),
                                       .table = table.f32(),
                                       .interleave = interleave,
                                       .latent = latent.f32(),
                                       .ld_latent = latent.ld(),
                                       .k_rope = k_rope.f32(),
                                       .ld_k_rope = k_rope.ld(),
                                       .slots = slots ? slots.i32() : nullptr,
                                       .inv_rms = inv_rms});
}

struct LatentNode {
  Tensor kv_a, gain, inv, positions, table;
  bool interleave;
  GradSlot *latent_slot, *k_rope_slot, *kv_a_slot, *gain_slot;

  void backward() {
    const Tensor dlatent = take_grad(latent_slot), dk_rope = take_grad(k_rope_slot);
    if (!dlatent && !dk_rope) return;
    const GradOut dkv_a = grad_out(kv_a_slot, kv_a), dgain = grad_out(gain_slot, gain);
    launch(kv_a.device(), LatentNormRopeGrad{.rows = kv_a.rows(),
                                             .rank = gain.count(),
                                             .dim = table.cols(),
                                             .dlatent = dlatent ? dlatent.f32() : nullptr,
                                             .dk_rope = dk_rope ? dk_rope.f32() : nullptr,
                                             .kv_a = kv_a.f32(),
                                             .ld_kv_a = kv_a.ld(),
                                             .gain = gain.f32(),
                                             .inv_rms = inv.f32(),
                                             .positions = positions.i32(),
                                             .table = table.f32(),
                                             .interleave = interleave,
                                             .dkv_a = dkv_a.data,
                                             .accumulate_dkv_a = dkv_a.accumulate,
                                             .dgain = dgain.data,
                                             .accumulate_dgain = dgain.accumulate});
  }
};

}  // namespace

Tensor rope_table(Device& device, int64_t positions, std::span<const double> frequencies,
                  double amplitude) {
  const int64_t pairs = std::ssize(frequencies), dim = 2 * pairs;
  Tensor table = Tensor::empty(device, {positions, dim});
  float* values = table.f32();
  if (values == nullptr) return table;
  for (int64_t i = 0; i < pairs; ++i)
    for (int64_t p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(p) * frequencies[static_cast<size_t>(i)];
      values[p * dim + i] = static_cast<float>(amplitude * std::cos(angle));
      values[p * dim + pairs + i] = static_cast<float>(amplitude * std::sin(angle));
    }
  return table;
}

Tensor rope(const Tensor& x, const Tensor& positions, const Tensor& table, int64_t heads,
            int64_t begin, bool interleave) {
  Tensor y = Tensor::empty(x.device(), x.shape());
  launch(x.device(), Rope{.rows = x.rows(),
                          .heads = heads,
                          .head_dim = x.cols() / heads,
                          .begin = begin,
                          .dim = table.cols(),
                          .x = x.f32(),
                          .ldx = x.ld(),
                          .positions = positions.i32(),
                          .table = table.f32(),
                          .interleave = interleave,
                          .y = y.f32(),
                          .ldy = y.cols()});
  if (needs_grad(x))
    Tape::current()->record(
        RopeNode{positions, table, heads, begin, interleave, track(y), x.slot()});
  return y;
}

LatentKey latent_norm_rope(const Tensor& kv_a, const Tensor& gain, float eps,
                           const Tensor& positions, const Tensor& table, bool interleave) {
  Device& device = kv_a.device();
  const int64_t rank = gain.count(), dim = table.cols();
  UM_CHECK(kv_a.cols() == rank + dim, "mla: kv_a {} against rank {} + rope {}", kv_a.shape().text(),
           rank, dim);
  LatentKey out{Tensor::empty(device, {kv_a.rows(), rank}),
                Tensor::empty(device, {kv_a.rows(), dim})};
  Tensor inv = Tensor::empty(device, {kv_a.rows()});
  run_latent(kv_a, gain, eps, positions, table, interleave, out.latent, out.k_rope, {}, inv.f32());
  if (needs_grad(kv_a, gain)) {
    GradSlot* latent_slot = track(out.latent);
    GradSlot* k_rope_slot = track(out.k_rope);
    Tape::current()->record(LatentNode{detach(kv_a), gain, std::move(inv), positions, table,
                                       interleave, latent_slot, k_rope_slot, kv_a.slot(),
                                       gain.slot()});
  }
  return out;
}

void latent_norm_rope_into(const Tensor& kv_a, const Tensor& gain, float eps,
                           const Tensor& positions, const Tensor& table, bool interleave,
                           const Rows& cache, const Tensor& slots) {
  const int64_t rank = gain.count(), width = cache.cols();
  const bool direct = cache.format == kF32Rows;
  const Tensor rows = direct ? cache.values : Tensor::empty(kv_a.device(), {kv_a.rows(), width});
  run_latent(kv_a, gain, eps, positions, table, interleave, rows.col_range(0, rank),
             rows.col_range(rank, width), direct ? slots : Tensor(), nullptr);
  if (!direct) scatter_rows(rows, slots, cache);
}

void copy_into(const Tensor& from, const Tensor& to) {
  UM_CHECK(from.shape() == to.shape(), "copy of {} into {}", from.shape().text(),
           to.shape().text());
  launch(from.device(), CopyBlocks{.rows = from.rows(),
                                   .width = from.cols(),
                                   .x = from.f32(),
                                   .ldx = from.ld(),
                                   .y = to.f32(),
                                   .ldy = to.ld()});
}

}  // namespace um
