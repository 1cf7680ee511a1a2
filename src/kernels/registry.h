// Which kernel tables this program has and this processor can run.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/kernels.h"

namespace um {

/// Every table that runs here, the reference first, the fastest last.
std::vector<const Kernels*> available_kernels();

/// The fastest table that runs here: avx512, avx2 or ref.
const Kernels& best_cpu_kernels();

/// What a table multiplies integers with: "scalar", "AVX2", "AVX-512 VNNI".
std::string_view integer_products(const Kernels& table);

/// The table of that name, or null if the program lacks it or the processor cannot run it.
const Kernels* find_kernels(std::string_view name);

}  // namespace um
