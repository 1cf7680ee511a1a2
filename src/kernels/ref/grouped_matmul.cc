// Scalar matmul over rows grouped by expert: the definition of correct. Each kind sums in double
// and rounds to float once.
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/ref/weight.h"

namespace um::ref {
namespace {

int64_t source_row(const int32_t* gather, int64_t slot) {
  return gather != nullptr ? gather[slot] : slot;
}

/// One slot's row: dot products with the rows of the expert's weights, then the activation.
void forward_row(const GroupedMatmul& args, int64_t group, int64_t slot) {
  const float* a = args.a + source_row(args.gather_a, slot) * args.lda;
  const int64_t index = args.slots != nullptr ? args.slots[group] : group;
  const WeightPtr w = args.b + index * args.n * args.k;
  float* c = args.c + slot * args.ldc;
  for (int64_t j = 0; j < args.n; ++j) {
    double sum = 0;
    for (int64_t l = 0; l < args.k; ++l)
      sum += static_cast<double>(a[l]) * weight_at(w, j * args.k + l);
    c[j] = static_cast<float>(sum);
  }
  if (args.swiglu == nullptr) return;
  const int64_t half = args.n / 2;
  for (int64_t j = 0; j < half; ++j) {
    const double gate = c[j];
    args.swiglu[slot * half + j] = static_cast<float>(gate / (1 + std::exp(-gate)) * c[half + j]);
  }
}

void grad_input_row(const GroupedMatmul& args, int64_t group, int64_t slot) {
  const float* a = args.a + source_row(args.gather_a, slot) * args.lda;
  const WeightPtr w = args.b + group * args.n * args.k;
  for (int64_t l = 0; l < args.k; ++l) {
    double sum = 0;
    for (int64_t j = 0; j < args.n; ++j)
      sum += static_cast<double>(a[j]) * weight_at(w, j * args.k + l);
    args.c[slot * args.ldc + l] = static_cast<float>(sum);
  }
}

void grad_weight(const GroupedMatmul& args, int64_t group) {
  for (int64_t j = 0; j < args.n; ++j) {
    for (int64_t l = 0; l < args.k; ++l) {
      float& c = args.c[(group * args.n + j) * args.ldc + l];
      double sum = args.accumulate ? c : 0.0;
      for (int64_t slot = args.offsets[group]; slot < args.offsets[group + 1]; ++slot) {
        const float a = args.a[source_row(args.gather_a, slot) * args.lda + j];
        sum += static_cast<double>(a) * args.x[source_row(args.gather_x, slot) * args.ldx + l];
      }
      c = static_cast<float>(sum);
    }
  }
}

}  // namespace

void grouped_matmul(const GroupedMatmul& args) {
  for (int64_t group = 0; group < args.groups; ++group) {
    if (args.kind == GroupedMatmul::Kind::grad_weight) {
      grad_weight(args, group);
      continue;
    }
    for (int64_t slot = args.offsets[group]; slot < args.offsets[group + 1]; ++slot) {
      if (args.kind == GroupedMatmul::Kind::forward) {
        forward_row(args, group, slot);
      } else {
        grad_input_row(args, group, slot);
      }
    }
  }
}

}  // namespace um::ref
