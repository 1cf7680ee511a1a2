// RMSNorm and its gradient: one pass over memory, each row stays in the first-level cache between
// its sum and its scaling.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {

void rmsnorm(const RmsNorm& a) {
  parallel_for(a.rows, 2 * a.rows * a.cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float inv = norm_row(a.x + row * a.ldx, a.gain, a.eps, a.cols, a.y + row * a.ldy);
      if (a.inv_rms) a.inv_rms[row] = inv;
    }
  });
}

void rmsnorm_grad(const RmsNormGrad& a) {
  static thread_local Scratch scratch;
  column_sums(a.rows, a.cols, 3 * a.rows * a.cols, a.dgain, a.accumulate_dgain, scratch,
              [&](int64_t begin, int64_t end, float* dgain) {
                for (int64_t row = begin; row < end; ++row) {
                  norm_grad_row(a.dy + row * a.ldy, a.x + row * a.ldx, a.gain, a.inv_rms[row],
                                a.cols, a.dx ? a.dx + row * a.lddx : nullptr, a.accumulate_dx,
                                a.dgain ? dgain : nullptr);
                }
              });
}

}  // namespace um::UM_ISA
