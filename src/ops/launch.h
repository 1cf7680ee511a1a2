// launch(device, args): runs the kernel that takes these arguments, or meters it on a dry device.
#pragma once

#include <chrono>

#include "core/device.h"
#include "core/error.h"
#include "kernels/cost.h"
#include "kernels/kernels.h"

namespace um {

namespace detail {
template <class Args>
void launch_kernel(Device& device, const char* name, void (*kernel)(const Args&),
                   const Args& args) {
  UM_CHECK(device.dry() || kernel != nullptr, "device {} has no kernel `{}`", device.name(), name);
  if (device.meter() == nullptr) {
    if (!device.dry()) kernel(args);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  if (!device.dry()) kernel(args);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  const Cost work = cost(args);
  device.meter()->add(name, work.flops, work.bytes, device.dry() ? 0.0 : spent.count());
}
}  // namespace detail

#define UM_LAUNCH(function, Args)                                                                 \
  inline void launch(Device& device, const Args& args) {                                          \
    detail::launch_kernel(device, #function, device.dry() ? nullptr : device.kernels()->function, \
                          args);                                                                  \
  }
UM_KERNEL_LIST(UM_LAUNCH)
#undef UM_LAUNCH

}  // namespace um
