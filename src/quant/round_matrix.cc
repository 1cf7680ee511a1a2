// See round_matrix.h.
#include "quant/round_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "ops/launch.h"
#include "ops/rounding.h"

namespace um {
namespace {

constexpr std::array<std::string_view, 4> kNames{"rtn", "ssz", "sszw", "gptq"};
constexpr int64_t kErrorRows = 512;     // inputs that the error of a product is measured on
constexpr int64_t kColumnsPerRow = 16;  // a matrix with more is not worth GPTQ's factor
constexpr int64_t kRowsAtOnce = 2048;   // of inputs, on their way into a Gram matrix

/// Calls use(rows) with the first inputs as f32 matrices, rotated by blocks, some at a time.
template <class Use>
void for_inputs(Device& device, const MatrixInputs& inputs, int64_t count, int64_t rotation,
                Use use) {
  for (int64_t begin = 0; begin < count; begin += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, count - begin);
    const Tensor x = Tensor::empty(device, {rows, inputs.cols()});
    inputs.read(begin, rows, x.f32());
    rotate(x, rotation);
    use(x);
  }
}

std::vector<float> mean_squares(Device& device, const MatrixInputs& inputs, int64_t rotation) {
  std::vector<double> sums(static_cast<size_t>(inputs.cols()), 0.0);
  for_inputs(device, inputs, inputs.rows(), rotation, [&](const Tensor& x) {
    for (int64_t r = 0; r < x.rows(); ++r)
      for (int64_t c = 0; c < x.cols(); ++c) {
        const double value = static_cast<double>(x.f32()[r * x.cols() + c]);
        sums[static_cast<size_t>(c)] += value * value;
      }
  });
  std::vector<float> means(sums.size());
  std::transform(sums.begin(), sums.end(), means.begin(), [&](double sum) {
    return static_cast<float>(sum / static_cast<double>(inputs.rows()));
  });
  return means;
}

/// Σ x xᵀ.
Tensor gram_of(Device& device, const MatrixInputs& inputs, int64_t rotation) {
  const int64_t n = inputs.cols();
  Tensor gram = Tensor::zeros(device, {n, n});
  for_inputs(device, inputs, inputs.rows(), rotation, [&](const Tensor& x) {
    launch(device, Matmul{.m = n,
                          .n = n,
                          .k = x.rows(),
                          .a = rows_view(x),
                          .trans_a = true,
                          .b = rows_view(x),
                          .c = gram.f32(),
                          .ldc = n,
                          .accumulate = true});
  });
  return gram;
}

double squares(const Tensor& tensor) {
  const float* values = tensor.f32();
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < tensor.count(); ++i)
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return sum;
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

RoundErrors errors_of(const Tensor& weights, const std::vector<RowCodes>& rows,
                      const RowFormat& format, const MatrixInputs* inputs) {
  const Tensor left = residue(weights, rows, format);
  RoundErrors errors;
  errors.weights = ratio(squares(left), squares(weights));
  errors.outputs = -1;
  if (inputs == nullptr || inputs->rows() == 0) return errors;
  double lost = 0, all = 0;
  for_inputs(weights.device(), *inputs, std::min(kErrorRows, inputs->rows()), 0,
             [&](const Tensor& x) {
               lost += squares(products(x, left));
               all += squares(products(x, weights));
             });
  errors.outputs = ratio(lost, all);
  return errors;
}

}  // namespace

Tensor residue(const Tensor& weights, const std::vector<RowCodes>& rows, const RowFormat& format) {
  const int64_t n = weights.cols(), group = std::min(format.group, n);
  const Tensor from = rotated(weights, format.rotation);
  const Tensor left = Tensor::empty(weights.device(), {weights.rows(), n});
#pragma omp parallel for
  for (int64_t r = 0; r < weights.rows(); ++r) {
    const RowCodes& row = rows[static_cast<size_t>(r)];
    for (int64_t c = 0; c < n; ++c) {
      const auto code =
          static_cast<float>(row.codes[static_cast<size_t>(c)] - format.code_middle());
      left.f32()[r * n + c] =
          from.f32()[r * n + c] - code * row.scales[static_cast<size_t>(c / group)];
    }
  }
  rotate(left, format.rotation);
  return left;
}

Tensor products(const Tensor& x, const Tensor& weights) {
  Tensor y = Tensor::empty(x.device(), {x.rows(), weights.rows()});
  launch(x.device(), Matmul{.m = x.rows(),
                            .n = weights.rows(),
                            .k = x.cols(),
                            .a = rows_view(x),
                            .b = rows_view(weights),
                            .trans_b = true,
                            .c = y.f32(),
                            .ldc = weights.rows()});
  return y;
}

std::string_view round_method_name(RoundMethod method) {
  return kNames[static_cast<size_t>(method)];
}

RoundMethod round_method(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end())
    throw UsageError(fmt::format("method {}: expected {}", name, fmt::join(kNames, ", ")));
  return static_cast<RoundMethod>(found - kNames.begin());
}

bool needs_inputs(RoundMethod method) {
  return method >= RoundMethod::weighted;
}

void MatrixRounder::look_at(Device& device, const MatrixInputs& inputs, int64_t rotation,
                            bool compensate) {
  if (seen_ == nullptr || !seen_->same_rows(inputs) || rotation_ != rotation) {
    importance_ = mean_squares(device, inputs, rotation);
    compensation_.reset();
  }
  seen_ = &inputs;
  rotation_ = rotation;
  if (compensate && !compensation_)
    compensation_ = Compensation::make(gram_of(device, inputs, rotation));
}

RoundedMatrix MatrixRounder::round(const Tensor& weights, const RowFormat& format,
                                   const MatrixInputs* inputs) {
  Device& device = weights.device();
  const int64_t n = weights.cols();
  RoundedMatrix rounded;
  rounded.method = method_;
  if (needs_inputs(method_) && inputs == nullptr) rounded.method = RoundMethod::ssz;
  // Few rows are not worth a factor of their own size squared.
  if (rounded.method == RoundMethod::gptq && weights.rows() * kColumnsPerRow < n)
    rounded.method = RoundMethod::weighted;
  if (needs_inputs(rounded.method)) {
    look_at(device, *inputs, format.rotation, rounded.method == RoundMethod::gptq);
    if (!compensation_) rounded.method = RoundMethod::weighted;
  }
  const RoundOptions options{needs_inputs(rounded.method) ? importance_.data() : nullptr,
                             rounded.method != RoundMethod::nearest};
  const Tensor turned = rotated(weights, format.rotation);
  const RowFormat as_it_is = without_rotation(format);
  rounded.rows.resize(static_cast<size_t>(weights.rows()));
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t r = 0; r < weights.rows(); ++r)
    rounded.rows[static_cast<size_t>(r)] =
        round_row(*device.kernels(), turned.f32() + r * n, n, as_it_is, options);
  if (rounded.method == RoundMethod::gptq)
    round_compensated(*compensation_, turned, as_it_is, rounded.rows);
  rounded.errors = errors_of(weights, rounded.rows, format, inputs);
  return rounded;
}

}  // namespace um
