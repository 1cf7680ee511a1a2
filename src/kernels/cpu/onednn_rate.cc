// See onednn_rate.h.
#include "kernels/cpu/onednn_rate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <dnnl.hpp>
#include <limits>
#include <string_view>

#include "kernels/cpu/onednn_matmul.h"

namespace um {
namespace {

using dnnl::memory;

struct Types {
  memory::data_type a, b, c;
};

Types types_of(ProductType type) {
  using enum memory::data_type;
  if (type == ProductType::int8) return {u8, s8, s32};
  if (type == ProductType::bf16) return {bf16, bf16, memory::data_type::f32};
  return {memory::data_type::f32, memory::data_type::f32, memory::data_type::f32};
}

/// Zeros, in the layout that the primitive likes best.
memory zeros(const memory::desc& desc, const dnnl::engine& engine) {
  memory out(desc, engine);
  std::memset(out.get_data_handle(), 0, desc.get_size());
  return out;
}

}  // namespace

std::optional<double> onednn_rate(ProductType type, int64_t side, int tries) {
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const Types types = types_of(type);
    const auto any = [&](memory::data_type element) {
      return memory::desc({side, side}, element, memory::format_tag::any);
    };
    const dnnl::matmul::primitive_desc chosen(
        dnnl::matmul::desc(any(types.a), any(types.b), any(types.c)), engine);
    if (std::string_view(chosen.impl_info_str()).starts_with("ref")) return std::nullopt;
    const memory a = zeros(chosen.src_desc(), engine), b = zeros(chosen.weights_desc(), engine);
    const memory c = zeros(chosen.dst_desc(), engine);
    const dnnl::matmul product(chosen);
    dnnl::stream stream(engine);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i <= tries; ++i) {  // the first one warms up
      const auto start = std::chrono::steady_clock::now();
      product.execute(stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
      stream.wait();
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      if (i > 0) best = std::min(best, time.count());
    }
    const auto n = static_cast<double>(side);
    return 2 * n * n * n / best;
  } catch (const dnnl::error&) {
    return std::nullopt;  // no such product on this processor
  }
}

std::string ProductRates::f32_text() const {
  return f32 ? fmt::format("{:.0f} Gop/s", *f32 / 1e9) : "no fast code";
}

std::string ProductRates::bf16_text() const {
  if (bf16_instructions == nullptr)
    return "none: this processor has no bf16 dot (AVX512-BF16 or AMX)";
  if (!bf16 || !f32) return fmt::format("no fast code, despite {}", bf16_instructions);
  return fmt::format("{:.0f} Gop/s, {:.2f} times f32 ({})", *bf16 / 1e9, *bf16 / *f32,
                     bf16_instructions);
}

const ProductRates& product_rates() {
  constexpr int64_t kSide = 2048;
  constexpr int kTries = 5;
  static const ProductRates rates = [] {
    ProductRates measured{.f32 = onednn_rate(ProductType::f32, kSide, kTries),
                          .bf16 = {},
                          .bf16_instructions = bf16_instructions()};
    if (measured.bf16_instructions != nullptr)
      measured.bf16 = onednn_rate(ProductType::bf16, kSide, kTries);
    return measured;
  }();
  return rates;
}

}  // namespace um
