// The process's devices, made on first use: the best CPU backend, a named one, and the dry device.
#pragma once

#include <string_view>

#include "core/device.h"

namespace um {

/// The CPU with the widest instruction set this machine has.
Device& cpu_device();
/// A CPU device with the named kernel table ("ref", "avx2", "avx512"); throws UsageError listing
/// those here.
Device& cpu_device(std::string_view kernels);
/// No memory, no arithmetic: shapes and costs only.
Device& dry_device();

}  // namespace um
