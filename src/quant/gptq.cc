// See gptq.h.
#include "quant/gptq.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/launch.h"

namespace um {
namespace {

constexpr int64_t kBlock = 128;  // columns whose errors are carried on together
constexpr double kDamp = 0.001;  // of the mean of the diagonal
constexpr int kAttempts = 4;     // each with ten times the damping

/// square[i][j] = from[order[i]][order[j]], with `damp` added on the diagonal.
Tensor permuted(const Tensor& from, const std::vector<int64_t>& order, double damp) {
  const int64_t n = from.rows();
  Tensor square = Tensor::empty(from.device(), {n, n});
  float* to = square.f32();
  const float* values = from.f32();
#pragma omp parallel for
  for (int64_t i = 0; i < n; ++i) {
    const float* row = values + order[static_cast<size_t>(i)] * n;
    for (int64_t j = 0; j < n; ++j) to[i * n + j] = row[order[static_cast<size_t>(j)]];
    to[i * n + i] += static_cast<float>(damp);
  }
  return square;
}

/// Makes a symmetric matrix the upper factor U of its inverse: UᵀU. False if it has none.
bool factor_of_inverse(const Tensor& square) {
  const auto n = static_cast<lapack_int>(square.rows());
  // LAPACK sees the rows as columns: its lower triangle is our upper one.
  if (LAPACKE_spotrf(LAPACK_COL_MAJOR, 'L', n, square.f32(), n) != 0) return false;
  if (LAPACKE_spotri(LAPACK_COL_MAJOR, 'L', n, square.f32(), n) != 0) return false;
  return LAPACKE_spotrf(LAPACK_COL_MAJOR, 'L', n, square.f32(), n) == 0;
}

/// The integer of a value at a scale, in the format's range.
float rounded(float value, float scale, const RowFormat& format) {
  const auto top = static_cast<float>(format.code_middle() - 1);
  const float bottom = format.type == RowType::panel4 ? -top - 1 : -top;
  return scale == 0 || !std::isfinite(scale)
             ? 0.0f
             : std::nearbyint(std::clamp(value / scale, bottom, top));
}

/// Columns [begin, end) of `order` of one row, in turn: `values` are the row's in that order,
/// `errors` becomes what is to be taken off the later ones per unit of the factor, with its sign.
void round_block(const std::vector<int64_t>& order, const float* factor, int64_t begin, int64_t end,
                 const RowFormat& format, RowCodes& row, float* values, float* errors) {
  const auto n = static_cast<int64_t>(order.size());
  for (int64_t i = begin; i < end; ++i) {
    const auto column = static_cast<size_t>(order[static_cast<size_t>(i)]);
    const float scale = row.scales[column / static_cast<size_t>(std::min(format.group, n))];
    const float code = rounded(values[i], scale, format);
    row.codes[column] = static_cast<uint8_t>(static_cast<int32_t>(code) + format.code_middle());
    const float* along = factor + i * n;
    const float error = (values[i] - code * scale) / along[i];
    for (int64_t j = i; j < end; ++j) values[j] -= error * along[j];
    errors[i - begin] = -error;
  }
}

}  // namespace

std::optional<Compensation> Compensation::make(Tensor gram) {
  const int64_t n = gram.rows();
  double sum = 0;
  int64_t alive = 0;
  std::vector<float> diagonal(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const float square = diagonal[static_cast<size_t>(i)] = gram.f32()[i * n + i];
    sum += static_cast<double>(square);
    alive += square > 0 ? 1 : 0;
  }
  if (!std::isfinite(sum) || alive == 0) return {};
  const double mean = sum / static_cast<double>(alive);
  for (int64_t i = 0; i < n; ++i)  // a channel without input goes with no other
    if (diagonal[static_cast<size_t>(i)] <= 0) gram.f32()[i * n + i] = static_cast<float>(mean);
  Compensation made;
  made.order_.resize(static_cast<size_t>(n));
  std::iota(made.order_.begin(), made.order_.end(), 0);
  std::stable_sort(made.order_.begin(), made.order_.end(), [&](int64_t a, int64_t b) {
    return diagonal[static_cast<size_t>(a)] > diagonal[static_cast<size_t>(b)];
  });
  double damp = kDamp * mean;
  for (int attempt = 0; attempt < kAttempts; ++attempt, damp *= 10) {
    made.factor_ = permuted(gram, made.order_, damp);
    if (factor_of_inverse(made.factor_)) return made;
  }
  return {};
}

void round_compensated(const Compensation& compensation, const Tensor& weights,
                       const RowFormat& format, std::vector<RowCodes>& rows) {
  const std::vector<int64_t>& order = compensation.order_;
  const int64_t out = weights.rows(), n = weights.cols();
  const float* factor = compensation.factor_.f32();
  const Tensor values = Tensor::empty(weights.device(), {out, n});
#pragma omp parallel for
  for (int64_t r = 0; r < out; ++r)
    for (int64_t i = 0; i < n; ++i)
      values.f32()[r * n + i] = weights.f32()[r * n + order[static_cast<size_t>(i)]];
  const Tensor errors = Tensor::empty(weights.device(), {out, kBlock});
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
#pragma omp parallel for
    for (int64_t r = 0; r < out; ++r)
      round_block(order, factor, begin, end, format, rows[static_cast<size_t>(r)],
                  values.f32() + r * n, errors.f32() + r * kBlock);
    if (end == n) break;
    launch(weights.device(), Matmul{.m = out,
                                    .n = n - end,
                                    .k = end - begin,
                                    .a = {errors.f32(), kBlock},
                                    .b = {factor + begin * n + end, n},
                                    .c = values.f32() + end,
                                    .ldc = n,
                                    .accumulate = true});
  }
}

}  // namespace um
