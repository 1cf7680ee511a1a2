// One matrix in integers, by the method that is asked for, with the errors that this makes.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "quant/gptq.h"
#include "quant/inputs.h"

namespace um {

/// How integers are chosen, each with what the ones before it do (ops/rounding.h, quant/gptq.h).
enum class RoundMethod {
  nearest,   ///< "rtn": scale from the largest magnitude, each value to the nearest
  ssz,       ///< "ssz": the scale of least squared error
  weighted,  ///< "sszw": the same, squares weighed by the mean squares of the inputs
  gptq       ///< "gptq": those scales, and each column makes up for the ones before it
};
std::string_view round_method_name(RoundMethod method);
/// Throws UsageError for a name that is none.
RoundMethod round_method(std::string_view name);
/// Whether it looks at inputs.
bool needs_inputs(RoundMethod method);

/// Squared errors, as shares of the squares of what they are errors of.
struct RoundErrors {
  double weights = 0;
  double outputs = 0;  ///< of the products with (at most kErrorRows of) the inputs; -1 without any
};

struct RoundedMatrix {
  std::vector<RowCodes> rows;
  RoundErrors errors;
  RoundMethod method = RoundMethod::nearest;  ///< that was used: a lesser one if gptq cannot be
};

/// What rounding leaves: weights less the values of their integers.
Tensor residue(const Tensor& weights, const std::vector<RowCodes>& rows, const RowFormat& format);
/// x [T, in] times Wᵀ: [T, out].
Tensor products(const Tensor& x, const Tensor& weights);

/// Rounds matrices, keeping what the last inputs say: matrices that read the same come in turn.
class MatrixRounder {
 public:
  explicit MatrixRounder(RoundMethod method) : method_(method) {}

  /// `weights` [out, in], f32. `inputs` may be null; then a method that looks at them becomes
  /// `ssz`.
  RoundedMatrix round(const Tensor& weights, const RowFormat& format, const MatrixInputs* inputs);

 private:
  void look_at(Device& device, const MatrixInputs& inputs, int64_t rotation, bool compensate);

  RoundMethod method_;
  const MatrixInputs* seen_ = nullptr;  ///< the inputs that these are of, rotated so:
  int64_t rotation_ = 0;
  std::vector<float> importance_;
  std::optional<Compensation> compensation_;
};

}  // namespace um
