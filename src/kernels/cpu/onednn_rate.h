// How fast oneDNN multiplies matrices of a type here: what kernels for that type are held to, and
// whether computing in it pays.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace um {

enum class ProductType { f32, bf16, int8 };

/// Multiplications and additions per second of a product of `side`² matrices (f32: sums in f32;
/// bf16: in f32; unsigned by signed int8: in int32), the best of `tries` runs on all threads.
/// Nothing where oneDNN only has its plain reference code for this processor.
std::optional<double> onednn_rate(ProductType type, int64_t side, int tries);

/// What decides whether products of bf16 pay: large ones in operations per second.
struct ProductRates {
  std::optional<double> f32;
  std::optional<double> bf16;               ///< nothing without instructions for it
  const char* bf16_instructions = nullptr;  ///< bf16_instructions() of onednn_matmul.h

  /// "200 Gop/s", "410 Gop/s, 2.05 times f32 (AVX512-BF16)", or that there is none.
  std::string f32_text() const;
  std::string bf16_text() const;
};

/// Those of this machine, measured at the first call: a second or two.
const ProductRates& product_rates();

}  // namespace um
