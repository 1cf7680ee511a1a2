// What the matrices of a layer read, with the gradients of what they gave: recorded while the loss
// runs back through it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/device.h"
#include "kernels/args.h"
#include "nn/module.h"

namespace um {

/// Rows x that a matrix W read, and the loss's gradients g by the rows W·x, in the same order.
struct InputGradients {
  int64_t rows = 0, in = 0, out = 0;
  std::vector<float> inputs;     ///< [rows, in]
  std::vector<float> gradients;  ///< [rows, out]
};

/// Watches a device while a layer's gradients are taken there: the products that make those of its
/// matrices have both.
class GradientRecorder : public ProductObserver {
 public:
  explicit GradientRecorder(const std::vector<const Param*>& matrices) : matrices_(matrices) {}

  void see(const Matmul& product) override;
  void see(const GroupedMatmul& product) override;

  /// Those of a piece of a parameter; no rows if there were none.
  InputGradients find(const Param& param, const Piece& piece) const;

 private:
  /// A parameter and the first of its rows that a product belongs to.
  struct Place {
    const Param* param;
    int64_t row;
    auto operator<=>(const Place&) const = default;
  };
  const Param* param_of(const float* gradient) const;
  /// Row i of the product: x's and dy's.
  template <class Row>
  void add(const Place& place, int64_t in, int64_t out, int64_t rows, Row row);

  std::vector<const Param*> matrices_;
  std::map<Place, InputGradients> records_;
};

}  // namespace um
