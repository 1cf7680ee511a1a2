// How fast oneDNN multiplies matrices of a type here: what kernels for that type are held to, and
// whether computing in it pays.
#pragma once

#include <cstdint>
#include <optional>

namespace um {

enum class ProductType { f32, bf16, int8 };

/// Multiplications and additions per second of a product of `side`² matrices (f32: sums in f32;
/// bf16: in f32; unsigned by signed int8: in int32), the best of `tries` runs on all threads.
/// Nothing where oneDNN only has its plain reference code for this processor.
std::optional<double> onednn_rate(ProductType type, int64_t side, int tries);

}  // namespace um
