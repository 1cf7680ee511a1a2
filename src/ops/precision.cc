// See precision.h.
#include "ops/precision.h"

#include <fmt/format.h>

#include "kernels/cpu/onednn_matmul.h"

namespace um {

const char* operands_name(Operands operands) {
  return operands == Operands::bf16 ? "bf16" : "f32";
}

Precision choose_precision(const std::string& option, const ProductRates& rates) {
  if (option == "f32") return {};
  const std::string measured =
      fmt::format("products in f32 {}; in bf16 {}", rates.f32_text(), rates.bf16_text());
  if (option == "auto") {
    const bool pays = rates.bf16 && rates.f32 && *rates.bf16 >= kWorthBf16 * *rates.f32;
    return {pays ? Operands::bf16 : Operands::f32,
            fmt::format("precision auto: {} ({})", pays ? "bf16" : "f32", measured)};
  }
  if (rates.bf16_instructions == nullptr)
    return {Operands::bf16,
            fmt::format("precision bf16: does not pay here, operands are rounded and multiplied as "
                        "f32 ({})",
                        measured)};
  return {Operands::bf16, fmt::format("precision bf16: by {}", rates.bf16_instructions)};
}

Precision choose_precision(const std::string& option) {
  if (option == "f32") return {};
  ProductRates known{.f32 = {}, .bf16 = {}, .bf16_instructions = bf16_instructions()};
  const bool measure = option == "auto" || known.bf16_instructions == nullptr;
  return choose_precision(option, measure ? product_rates() : known);
}

}  // namespace um
