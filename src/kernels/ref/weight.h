// Reading a weight that is stored in f32 or bf16, for the reference kernels.
#pragma once

#include "core/dtype.h"
#include "kernels/args/weight.h"

namespace um::ref {

inline float weight_at(WeightPtr weights, int64_t i) {
  return weights.is_bf16 ? f32_from_bf16(weights.bf16()[i]) : weights.f32()[i];
}

}  // namespace um::ref
