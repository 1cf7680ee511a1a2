// Scalar matmul over rows grouped by expert: the definition of correct. Each kind sums in double
// and rounds to float once.
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/ref/row_values.h"

namespace um::ref {
namespace {

int64_t source_row(const int32_t* gather, int64_t slot) {
  return gather != nullptr ? gather[slot] : slot;
}

/// One slot's row: dot products with the rows of the expert's weights, then the activation.
void forward_row(const GroupedMatmul& args, int64_t group, int64_t slot) {
  const int64_t row = source_row(args.gather_a, slot);
  const int64_t index = args.slots != nullptr ? args.slots[group] : group;
  const RowsView w = args.b.from_row(index * args.n);
  float* c = args.c + slot * args.ldc;
  for (int64_t j = 0; j < args.n; ++j) {
    if (args.a.type() == RowType::i8) {
      c[j] = integer_product(args.a, row, w, j, args.k, 0);
      continue;
    }
    double sum = 0;
    for (int64_t l = 0; l < args.k; ++l)
      sum += rounded_product(args.operands, value_at(args.a, row, l), value_at(w, j, l));
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
  const float* a = args.a.from_row(source_row(args.gather_a, slot)).f32();
  const RowsView w = args.b.from_row(group * args.n);
  for (int64_t l = 0; l < args.k; ++l) {
    double sum = 0;
    for (int64_t j = 0; j < args.n; ++j)
      sum += rounded_product(args.operands, a[j], value_at(w, j, l));
    args.c[slot * args.ldc + l] = static_cast<float>(sum);
  }
}

void grad_weight(const GroupedMatmul& args, int64_t group) {
  for (int64_t j = 0; j < args.n; ++j) {
    for (int64_t l = 0; l < args.k; ++l) {
      float& c = args.c[(group * args.n + j) * args.ldc + l];
      double sum = args.accumulate ? c : 0.0;
      for (int64_t slot = args.offsets[group]; slot < args.offsets[group + 1]; ++slot) {
        const float a = value_at(args.a, source_row(args.gather_a, slot), j);
        sum +=
            rounded_product(args.operands, a, value_at(args.x, source_row(args.gather_x, slot), l));
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
