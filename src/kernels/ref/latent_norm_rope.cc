// MLA's shared key side, RMSNorm of the latent and RoPE of the shared key, and its gradient
// (DeepSeek-V2, arXiv 2405.04434), reference.
#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {

void latent_norm_rope(const LatentNormRope& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const float* x = a.kv_a + row * a.ld_kv_a;
    const float inv = inverse_rms(x, a.rank, a.eps);
    const int64_t to = a.slots ? a.slots[row] : row;
    for (int64_t i = 0; i < a.rank; ++i) {
      a.latent[to * a.ld_latent + i] =
          static_cast<float>(static_cast<double>(a.gain[i]) * x[i] * inv);
    }
    rope_row(x + a.rank, a.table + a.positions[row] * a.dim, a.dim, a.interleave, false,
             a.k_rope + to * a.ld_k_rope, false);
    if (a.inv_rms) a.inv_rms[row] = inv;
  }
}

namespace {

// dkv_a of one row; a null gradient counts as zero.
void latent_grad_row(const LatentNormRopeGrad& a, int64_t row) {
  const float* x = a.kv_a + row * a.ld_kv_a;
  float* dx = a.dkv_a + row * (a.rank + a.dim);
  const float* dy = a.dlatent ? a.dlatent + row * a.rank : nullptr;
  const double dot = dy ? norm_dot(dy, a.gain, x, a.rank) : 0;
  for (int64_t i = 0; i < a.rank; ++i) {
    const double value = dy ? norm_grad(dy[i], a.gain[i], x[i], a.inv_rms[row], dot) : 0;
    put(dx + i, value, a.accumulate_dkv_a);
  }
  if (a.dk_rope) {
    rope_row(a.dk_rope + row * a.dim, a.table + a.positions[row] * a.dim, a.dim, a.interleave, true,
             dx + a.rank, a.accumulate_dkv_a);
  } else {
    for (int64_t i = 0; i < a.dim; ++i) put(dx + a.rank + i, 0, a.accumulate_dkv_a);
  }
}

}  // namespace

void latent_norm_rope_grad(const LatentNormRopeGrad& a) {
  for (int64_t i = 0; a.dgain && i < a.rank; ++i) {
    double sum = 0;
    for (int64_t row = 0; a.dlatent && row < a.rows; ++row) {
      sum += static_cast<double>(a.dlatent[row * a.rank + i]) * a.kv_a[row * a.ld_kv_a + i] *
             a.inv_rms[row];
    }
    put(a.dgain + i, sum, a.accumulate_dgain);
  }
  for (int64_t row = 0; a.dkv_a && row < a.rows; ++row) latent_grad_row(a, row);
}

}  // namespace um::ref
