// MLA's shared key side, RMSNorm of the latent and RoPE of the shared key, and its gradient
// (DeepSeek-V2, arXiv 2405.04434), in one pass.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void latent_norm_rope(const LatentNormRope& a) {
  parallel_for(a.rows, 2 * a.rows * (a.rank + a.dim), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = a.kv_a + row * a.ld_kv_a;
      const int64_t to = a.slots ? a.slots[row] : row;
      const float inv = norm_row(x, a.gain, a.eps, a.rank, a.latent + to * a.ld_latent);
      if (a.inv_rms) a.inv_rms[row] = inv;
      rope_heads(x + a.rank, a.table + a.positions[row] * a.dim, 1, 0, a.dim, a.interleave, false,
                 a.k_rope + to * a.ld_k_rope, false);
    }
  });
}

namespace {

void zero_unless(bool accumulate, float* p, int64_t count) {
  if (p && !accumulate) std::memset(p, 0, static_cast<size_t>(count) * sizeof(float));
}

void latent_grad_row(const LatentNormRopeGrad& a, int64_t row, float* dgain) {
  float* dx = a.dkv_a ? a.dkv_a + row * (a.rank + a.dim) : nullptr;
  if (a.dlatent) {
    norm_grad_row(a.dlatent + row * a.rank, a.kv_a + row * a.ld_kv_a, a.gain, a.inv_rms[row],
                  a.rank, dx, a.accumulate_dkv_a, a.dgain ? dgain : nullptr);
  } else {
    zero_unless(a.accumulate_dkv_a, dx, a.rank);
  }
  if (!dx) return;
  if (a.dk_rope) {
    rope_heads(a.dk_rope + row * a.dim, a.table + a.positions[row] * a.dim, 1, 0, a.dim,
               a.interleave, true, dx + a.rank, a.accumulate_dkv_a);
  } else {
    zero_unless(a.accumulate_dkv_a, dx + a.rank, a.dim);
  }
}

}  // namespace

void latent_norm_rope_grad(const LatentNormRopeGrad& a) {
  static thread_local Scratch scratch;
  column_sums(a.rows, a.rank, 3 * a.rows * (a.rank + a.dim), a.dgain, a.accumulate_dgain, scratch,
              [&](int64_t begin, int64_t end, float* dgain) {
                for (int64_t row = begin; row < end; ++row) latent_grad_row(a, row, dgain);
              });
}

}  // namespace um::UM_ISA
