// launch(device, args): runs the kernel that takes these arguments, or meters it on a dry device.
// With the device's finite check on, the first kernel that writes a NaN or Inf throws.
#pragma once

#include <chrono>
#include <cmath>
#include <type_traits>

#include "core/device.h"
#include "core/error.h"
#include "core/tensor.h"
#include "kernels/cost.h"
#include "kernels/kernels.h"
#include "kernels/outputs.h"

namespace um {

namespace detail {
template <class Args>
void check_finite(const char* name, const Args& args) {
  visit_outputs(
      args, [name](const char* output, const float* data, int64_t rows, int64_t cols, int64_t ld) {
        for (int64_t row = 0; data != nullptr && row < rows; ++row)
          for (int64_t col = 0; col < cols; ++col)
            UM_CHECK(std::isfinite(data[row * ld + col]),
                     "op `{}` wrote {} into {}[{}, {}] of [{}, {}]", name, data[row * ld + col],
                     output, row, col, rows, cols);
      });
}

template <class Args>
void show_product(Device& device, const Args& args) {
  if constexpr (std::is_same_v<Args, Matmul> || std::is_same_v<Args, GroupedMatmul>)
    if (device.observer() != nullptr) device.observer()->see(args);
}

template <class Args>
void launch_kernel(Device& device, const char* name, void (*kernel)(const Args&),
                   const Args& args) {
  UM_CHECK(device.dry() || kernel != nullptr, "device {} has no kernel `{}`", device.name(), name);
  show_product(device, args);
  if (device.meter() == nullptr) {
    if (!device.dry()) kernel(args);
  } else {
    const auto start = std::chrono::steady_clock::now();
    if (!device.dry()) kernel(args);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    const Cost work = cost(args);
    device.meter()->add(name, work.flops, work.bytes, device.dry() ? 0.0 : spent.count());
  }
  if (device.finite_check() && !device.dry()) check_finite(name, args);
}
}  // namespace detail

#define UM_LAUNCH(function, Args)                                                                 \
  inline void launch(Device& device, const Args& args) {                                          \
    detail::launch_kernel(device, #function, device.dry() ? nullptr : device.kernels()->function, \
                          args);                                                                  \
  }
UM_KERNEL_LIST(UM_LAUNCH)
#undef UM_LAUNCH

/// The rows of a tensor as kernels take them: f32 or bf16, by its dtype; throws Error for others.
inline RowsView rows_view(const Tensor& rows) {
  if (rows.dtype() == DType::bf16) return {rows.data<uint16_t>(), rows.ld()};
  return {rows.f32(), rows.ld()};
}

}  // namespace um
