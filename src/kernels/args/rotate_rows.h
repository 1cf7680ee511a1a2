// The arguments of rotating rows by Hadamard's matrix; kernels.h has the rules and the legend.
#pragma once

#include <cstdint>

namespace um {

/// y = H·x for each row: blocks of `block` channels (a power of two) by Sylvester's matrix of that
/// order (entry (i, j) is -1 where i & j has an odd number of bits, else 1) over the root of the
/// order; what is left behind the last whole block stays as it is. Sums and differences of pairs,
/// those that are 1 channel apart, then 2, 4, …, then the factor: one order for all backends. y may
/// be x.
struct RotateRows {
  int64_t rows = 0, width = 0, block = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  float* y = nullptr;
  int64_t ldy = 0;
};

}  // namespace um
