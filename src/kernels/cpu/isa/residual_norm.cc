// One step of a sandwich-normed residual stream and its gradient (Pangu Ultra MoE's DSSN), fused:
// x and v are read once, y and z written once.
#include "kernels/cpu/isa/rows.h"
#include "kernels/kernels.h"

namespace um::UM_ISA {
namespace {

void residual_row(const ResidualNorm& a, int64_t row) {
  const int64_t cols = a.cols;
  const float *x = a.x + row * cols, *v = a.v + row * cols;
  float* y = a.y + row * cols;
  float inv_v = 1.0f;
  if (a.gain_post) {
    const float squares = sum_of(cols, [&](int64_t i, int64_t n, Vec s) {
      const Vec b = load_n(v + i, n);
      return fma(b, b, s);
    });
    inv_v = inverse_rms(squares, cols, a.eps);
  }
  const Vec scale = splat(inv_v);
  const float squares = sum_of(cols, [&](int64_t i, int64_t n, Vec s) {
    const Vec b = load_n(v + i, n);
    const Vec post = a.gain_post ? load_n(a.gain_post + i, n) * (b * scale) : b;
    const Vec sum = load_n(x + i, n) + post;
    store_n(y + i, sum, n);
    return fma(sum, sum, s);
  });
  const float inv_y = inverse_rms(squares, cols, a.eps);
  const Vec scale_y = splat(inv_y);
  if (a.z) {
    float* z = a.z + row * cols;
    for_vectors(cols, [&](int64_t i, int64_t n) {
      store_n(z + i, load_n(a.gain_pre + i, n) * (load_n(y + i, n) * scale_y), n);
    });
  }
  if (a.inv_v) a.inv_v[row] = inv_v;
  if (a.inv_y) a.inv_y[row] = inv_y;
}

// g = dy + d(pre)(dz) of one row.
void stream_grad(const ResidualNormGrad& a, int64_t row, float* g, float* dgain_pre) {
  const int64_t at = row * a.cols;
  const auto bytes = static_cast<size_t>(a.cols) * sizeof(float);
  if (a.dy) {
    std::memcpy(g, a.dy + at, bytes);
  } else if (!a.dz) {
    std::memset(g, 0, bytes);
  }
  if (!a.dz) return;
  norm_grad_row(a.dz + at, a.y + at, a.gain_pre, a.inv_y[row], a.cols, g, a.dy != nullptr,
                a.dgain_pre ? dgain_pre : nullptr);
}

void residual_grad_row(const ResidualNormGrad& a, int64_t row, float* g, float* dgain_post,
                       float* dgain_pre) {
  const int64_t at = row * a.cols;
  stream_grad(a, row, g, dgain_pre);
  float* dv = a.dv ? a.dv + at : nullptr;
  if (a.gain_post) {
    norm_grad_row(g, a.v + at, a.gain_post, a.inv_v[row], a.cols, dv, a.accumulate_dv,
                  a.dgain_post ? dgain_post : nullptr);
  } else if (dv) {
    for_vectors(a.cols,
                [&](int64_t i, int64_t n) { put_n(dv + i, load_n(g + i, n), n, a.accumulate_dv); });
  }
  if (!a.dx) return;
  for_vectors(a.cols, [&](int64_t i, int64_t n) {
    put_n(a.dx + at + i, load_n(g + i, n), n, a.accumulate_dx);
  });
}

void sum_blocks(const float* partial, int64_t blocks, int64_t stride, int64_t cols, float* out,
                bool accumulate) {
  for_vectors(cols, [&](int64_t i, int64_t n) {
    Vec total = accumulate ? load_n(out + i, n) : splat(0);
    for (int64_t b = 0; b < blocks; ++b) total = total + load_n(partial + b * stride + i, n);
    store_n(out + i, total, n);
  });
}

}  // namespace

void residual_norm(const ResidualNorm& a) {
  parallel_for(a.rows, 4 * a.rows * a.cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) residual_row(a, row);
  });
}

// Per block of rows: a row for g, then the partial sums of the two gains' gradients.
void residual_norm_grad(const ResidualNormGrad& a) {
  static thread_local Scratch scratch;
  const int64_t blocks = (a.rows + kBlockRows - 1) / kBlockRows;
  const int64_t stride = (a.cols + 15) / 16 * 16;
  float* partial = scratch.floats(3 * blocks * stride);
  parallel_for(blocks, 6 * a.rows * a.cols, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      float* g = partial + 3 * b * stride;
      std::memset(g + stride, 0, 2 * static_cast<size_t>(stride) * sizeof(float));
      const int64_t end = (b + 1) * kBlockRows < a.rows ? (b + 1) * kBlockRows : a.rows;
      for (int64_t row = b * kBlockRows; row < end; ++row) {
        residual_grad_row(a, row, g, g + stride, g + 2 * stride);
      }
    }
  });
  if (a.dgain_post) {
    sum_blocks(partial + stride, blocks, 3 * stride, a.cols, a.dgain_post, a.accumulate_dgain_post);
  }
  if (a.dgain_pre) {
    sum_blocks(partial + 2 * stride, blocks, 3 * stride, a.cols, a.dgain_pre,
               a.accumulate_dgain_pre);
  }
}

}  // namespace um::UM_ISA
