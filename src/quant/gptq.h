// GPTQ (Frantar et al. 2022, arXiv 2210.17323): columns are rounded one after the other, and what
// that does to a product is made up for in the columns that are still to come.
#pragma once

#include <optional>
#include <vector>

#include "core/tensor.h"
#include "ops/rows.h"

namespace um {

/// What rounding a column calls for in the others: the Cholesky factor of the inverse of the
/// inputs' Gram matrix, columns by falling mean square, so that the largest errors come first and
/// find the most columns to be made up for in.
class Compensation {
 public:
  /// `gram` [in, in]: Σ x xᵀ of the matrix's inputs; overwritten. A channel without input changes
  /// no product and is rounded as it is. Nothing if it cannot be factorised even when damped.
  static std::optional<Compensation> make(Tensor gram);

  int64_t cols() const { return static_cast<int64_t>(order_.size()); }

 private:
  friend void round_compensated(const Compensation&, const Tensor&, const RowFormat&,
                                std::vector<RowCodes>&);
  std::vector<int64_t> order_;  ///< of columns
  Tensor factor_;               ///< [in, in] upper: U with UᵀU = the damped Gram matrix's inverse
};

/// Rounds `weights` [out, in], f32, to the scales of `rows`, whose codes are replaced.
void round_compensated(const Compensation& compensation, const Tensor& weights,
                       const RowFormat& format, std::vector<RowCodes>& rows);

}  // namespace um
