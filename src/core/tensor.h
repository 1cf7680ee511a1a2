// Tensor: a reference-counted block of memory with a shape (at most 4 dimensions), an element type
// and a device. Contiguous but for one row stride: seen as a matrix [rows, cols], rows may be
// further apart than cols. No general strides; transposes are matmul flags.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"

namespace um {

struct GradSlot;  // ops/tape.h

/// Up to four extents.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i < 0 ? rank_ + i : i)]; }
  /// Product of all extents (1 for rank 0).
  int64_t count() const;
  bool operator==(const Shape& other) const = default;
  std::string text() const;  ///< "[2, 3]"

 private:
  std::array<int64_t, 4> dims_{};
  int rank_ = 0;
};

class Tensor {
 public:
  /// An empty handle: no memory, `defined()` is false.
  Tensor() = default;

  /// New memory, contents unspecified.
  static Tensor empty(Device& device, Shape shape, DType dtype = DType::f32);
  static Tensor zeros(Device& device, Shape shape, DType dtype = DType::f32);
  /// Elements that lie in memory of another's, which is kept for as long as it is needed, and which
  /// nobody writes to (a mapped file).
  static Tensor over(Device& device, Shape shape, DType dtype, const std::byte* data,
                     std::shared_ptr<const void> owner);
  /// Makes this a tensor as empty() gives, in the memory it has where the extents are the same and
  /// no other tensor sees it: for what is made anew in every step.
  void renew(Device& device, Shape shape, DType dtype);
  /// Copies host values.
  static Tensor from(Device& device, Shape shape, std::span<const float> values);
  static Tensor from(Device& device, Shape shape, std::span<const int32_t> values);
  static Tensor from(Device& device, Shape shape, std::span<const int64_t> values);

  bool defined() const { return buffer_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device& device() const;
  int64_t count() const { return shape_.count(); }
  size_t bytes() const;

  /// Matrix view: cols is the last extent, rows the product of the others.
  int64_t cols() const { return shape_.rank() == 0 ? 1 : shape_[-1]; }
  int64_t rows() const { return cols() == 0 ? 0 : count() / cols(); }
  int64_t ld() const { return ld_; }  ///< elements from one row to the next
  bool contiguous() const { return ld_ == cols() || rows() <= 1; }

  /// The elements; null on a dry device. T must be the tensor's element type.
  template <class T>
  T* data() const {
    UM_CHECK(dtype_ == dtype_of<T>(), "tensor {} holds {}, asked for {}", shape_.text(),
             dtype_name(dtype_), dtype_name(dtype_of<T>()));
    return reinterpret_cast<T*>(raw());
  }
  std::byte* raw() const;  ///< the same of any type
  float* f32() const { return data<float>(); }
  int32_t* i32() const { return data<int32_t>(); }
  int64_t* i64() const { return data<int64_t>(); }

  /// Views that share memory (and not the gradient): rows [begin, end), columns [begin, end),
  /// another shape of a contiguous tensor.
  Tensor row_range(int64_t begin, int64_t end) const;
  Tensor col_range(int64_t begin, int64_t end) const;
  Tensor reshape(Shape shape) const;

  /// A contiguous copy without gradient.
  Tensor clone() const;
  std::vector<float> to_vector() const;

  /// Where this tensor's gradient is gathered (ops/tape.h); null where none is wanted.
  GradSlot* slot() const { return slot_; }
  void set_slot(GradSlot* slot) { slot_ = slot; }

 private:
  struct Buffer;

  std::shared_ptr<Buffer> buffer_;
  int64_t offset_ = 0;  ///< bytes
  int64_t ld_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  GradSlot* slot_ = nullptr;
};

}  // namespace um
