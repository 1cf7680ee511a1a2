// See gradients.h.
#include "quant/gradients.h"

#include <algorithm>
#include <utility>

namespace um {

const Param* GradientRecorder::param_of(const float* gradient) const {
  const auto found = std::ranges::find_if(matrices_, [&](const Param* param) {
    return param->slot.grad && param->slot.grad.f32() == gradient;
  });
  return found == matrices_.end() ? nullptr : *found;
}

template <class Row>
void GradientRecorder::add(const Place& place, int64_t in, int64_t out, int64_t rows, Row row) {
  InputGradients& record = records_[place];
  record.in = in;
  record.out = out;
  record.rows += rows;
  for (int64_t i = 0; i < rows; ++i) {
    const auto [x, dy] = row(i);
    record.inputs.insert(record.inputs.end(), x, x + in);
    record.gradients.insert(record.gradients.end(), dy, dy + out);
  }
}

/// dW [out, in] = dyᵀ · x.
void GradientRecorder::see(const Matmul& product) {
  const Param* param = product.trans_a ? param_of(product.c) : nullptr;
  if (param == nullptr) return;
  add({param, 0}, product.n, product.m, product.k, [&](int64_t i) {
    return std::pair(product.b.f32() + i * product.b.ld(), product.a.f32() + i * product.a.ld());
  });
}

void GradientRecorder::see(const GroupedMatmul& product) {
  const Param* param =
      product.kind == GroupedMatmul::Kind::grad_weight ? param_of(product.c) : nullptr;
  if (param == nullptr) return;
  const auto at = [](const RowsView& rows, const int32_t* gather, int64_t slot) {
    return rows.f32() + (gather == nullptr ? slot : gather[slot]) * rows.ld();
  };
  for (int64_t g = 0; g < product.groups; ++g) {
    const int64_t begin = product.offsets[g], end = product.offsets[g + 1];
    if (begin == end) continue;
    add({param, g * product.n}, product.k, product.n, end - begin, [&](int64_t i) {
      return std::pair(at(product.x, product.gather_x, begin + i),
                       at(product.a, product.gather_a, begin + i));
    });
  }
}

InputGradients GradientRecorder::find(const Param& param, const Piece& piece) const {
  auto found = records_.upper_bound({&param, piece.row});
  if (found == records_.begin()) return {};
  --found;
  const InputGradients& all = found->second;
  const int64_t first = piece.row - found->first.row, count = piece.shape[0];
  if (found->first.param != &param || first + count > all.out) return {};
  InputGradients part{all.rows, all.in, count, all.inputs, {}};
  for (int64_t r = 0; r < all.rows; ++r) {
    const float* row = all.gradients.data() + r * all.out + first;
    part.gradients.insert(part.gradients.end(), row, row + count);
  }
  return part;
}

}  // namespace um
