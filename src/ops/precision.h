// What the operands of large matrix products are rounded to: mixed precision (Micikevicius et al.,
// "Mixed Precision Training", 2018, with bf16 in place of f16, which needs no loss scaling).
#pragma once

#include <string>

#include "kernels/args/matmul.h"
#include "kernels/cpu/onednn_rate.h"

namespace um {

/// How many times as fast as in f32 products of bf16 must be for `auto` to take them: below that,
/// rounding the operands and what is not a product leave too little.
inline constexpr double kWorthBf16 = 1.3;

struct Precision {
  Operands operands = Operands::f32;
  std::string note;  ///< what was chosen and why, in a line; empty for f32
};

/// "f32", "bf16".
const char* operands_name(Operands operands);

/// What an option (f32, bf16, auto) means on a machine of these rates.
Precision choose_precision(const std::string& option, const ProductRates& rates);
/// On this machine; measures only where the choice or the line needs it.
Precision choose_precision(const std::string& option);

}  // namespace um
