// Lets the tests measure the accuracy of simd.h's exp over whole arrays.
#include "kernels/cpu/isa/rows.h"

namespace um::UM_ISA {

void exp_array(const float* x, float* y, int64_t count) {
  for_vectors(count, [&](int64_t i, int64_t n) { store_n(y + i, exp(load_n(x + i, n)), n); });
}

}  // namespace um::UM_ISA
