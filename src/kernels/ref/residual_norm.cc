// One step of a sandwich-normed residual stream and its gradient (Pangu Ultra MoE's DSSN),
// reference.
#include <vector>

#include "kernels/kernels.h"
#include "kernels/ref/rows.h"

namespace um::ref {

void residual_norm(const ResidualNorm& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const float *x = a.x + row * a.cols, *v = a.v + row * a.cols;
    float* y = a.y + row * a.cols;
    const float inv_v = a.gain_post ? inverse_rms(v, a.cols, a.eps) : 1.0f;
    for (int64_t i = 0; i < a.cols; ++i) {
      const double post = a.gain_post ? static_cast<double>(a.gain_post[i]) * v[i] * inv_v : v[i];
      y[i] = static_cast<float>(x[i] + post);
    }
    const float inv_y = inverse_rms(y, a.cols, a.eps);
    for (int64_t i = 0; a.z && i < a.cols; ++i) {
      a.z[row * a.cols + i] = static_cast<float>(static_cast<double>(a.gain_pre[i]) * y[i] * inv_y);
    }
    if (a.inv_v) a.inv_v[row] = inv_v;
    if (a.inv_y) a.inv_y[row] = inv_y;
  }
}

void residual_norm_grad(const ResidualNormGrad& a) {
  const auto cols = static_cast<size_t>(a.cols);
  std::vector<double> g(cols), dgain_post(cols), dgain_pre(cols);
  for (int64_t row = 0; row < a.rows; ++row) {
    const int64_t at = row * a.cols;
    const double dot_y = a.dz ? norm_dot(a.dz + at, a.gain_pre, a.y + at, a.cols) : 0;
    for (size_t i = 0; i < cols; ++i) {
      g[i] = a.dy ? a.dy[at + i] : 0;
      if (!a.dz) continue;
      g[i] += norm_grad(a.dz[at + i], a.gain_pre[i], a.y[at + i], a.inv_y[row], dot_y);
      dgain_pre[i] += static_cast<double>(a.dz[at + i]) * a.y[at + i] * a.inv_y[row];
    }
    const double dot_v = a.gain_post ? norm_dot(g.data(), a.gain_post, a.v + at, a.cols) : 0;
    for (size_t i = 0; i < cols; ++i) {
      double dv = g[i];
      if (a.gain_post) {
        dv = norm_grad(g[i], a.gain_post[i], a.v[at + i], a.inv_v[row], dot_v);
        dgain_post[i] += g[i] * a.v[at + i] * a.inv_v[row];
      }
      if (a.dx) put(a.dx + at + i, g[i], a.accumulate_dx);
      if (a.dv) put(a.dv + at + i, dv, a.accumulate_dv);
    }
  }
  for (size_t i = 0; i < cols; ++i) {
    if (a.dgain_post) put(a.dgain_post + i, dgain_post[i], a.accumulate_dgain_post);
    if (a.dgain_pre) put(a.dgain_pre + i, dgain_pre[i], a.accumulate_dgain_pre);
  }
}

}  // namespace um::ref
