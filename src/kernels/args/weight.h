// The weight operand of matrix products and of the embedding, which may be stored in bf16.
#pragma once

#include <cstdint>

namespace um {

/// Where weights begin: f32, or bf16 (the upper half of an f32), which kernels widen as they read;
/// arithmetic is in f32 either way. Always inlined, because the kernels' files are compiled for
/// processors that the rest of the program need not run on.
struct WeightPtr {
#define UM_INLINE __attribute__((always_inline))
  const void* data = nullptr;
  bool is_bf16 = false;

  UM_INLINE WeightPtr() {}
  UM_INLINE WeightPtr(decltype(nullptr)) {}
  UM_INLINE WeightPtr(const float* p) : data(p) {}
  UM_INLINE WeightPtr(const uint16_t* p) : data(p), is_bf16(true) {}

  /// The elements; call the one that `is_bf16` says.
  UM_INLINE const float* f32() const {
    return static_cast<const float*>(data);
  }
  UM_INLINE const uint16_t* bf16() const {
    return static_cast<const uint16_t*>(data);
  }
  UM_INLINE int64_t element_bytes() const {
    return is_bf16 ? 2 : 4;
  }

  /// `elements` further on; null stays null (a dry device).
  UM_INLINE WeightPtr operator+(int64_t elements) const {
    WeightPtr moved = *this;
    if (data != nullptr) moved.data = static_cast<const char*>(data) + elements * element_bytes();
    return moved;
  }
#undef UM_INLINE
};

}  // namespace um
