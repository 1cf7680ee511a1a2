// See tensor.h.
#include "core/tensor.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace um {

struct Tensor::Buffer {
  Buffer(Device& device, size_t bytes)
      : device(device), bytes(bytes), data(device.allocator().allocate(bytes)) {}
  Buffer(Device& device, size_t bytes, const std::byte* data, std::shared_ptr<const void> owner)
      : device(device), bytes(bytes), data(const_cast<std::byte*>(data)), owner(std::move(owner)) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (owner == nullptr) device.allocator().release(data, bytes);
  }

  Device& device;
  size_t bytes;
  void* data;
  std::shared_ptr<const void> owner;  ///< null: the device's memory
};

namespace {

/// Puts a buffer's reference counts into a record of its device.
template <class T>
struct RecordOf {
  using value_type = T;
  explicit RecordOf(Allocator& allocator) : owner(&allocator) {}
  template <class U>
  RecordOf(const RecordOf<U>& other) : owner(other.owner) {}
  T* allocate(size_t) {
    static_assert(sizeof(T) <= Allocator::kRecordBytes);
    return static_cast<T*>(owner->take_record());
  }
  void deallocate(T* record, size_t) { owner->give_record(record); }
  template <class U>
  bool operator==(const RecordOf<U>& other) const {
    return owner == other.owner;
  }
  Allocator* owner;
};

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims)
    : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  UM_CHECK(dims.size() <= 4, "a tensor has at most 4 dimensions, asked for {}", dims.size());
  int64_t count = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    dims_[i] = dims[i];
    UM_CHECK(
        dims[i] >= 0 && !__builtin_mul_overflow(count, std::max<int64_t>(dims[i], 1), &count) &&
            count <= std::numeric_limits<int64_t>::max() / 8,
        "a tensor's extents are not negative and their product fits memory, found {}", dims[i]);
  }
}

int64_t Shape::count() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= dims_[static_cast<size_t>(i)];
  return product;
}

std::string Shape::text() const {
  return fmt::format("[{}]", fmt::join(dims_.begin(), dims_.begin() + rank_, ", "));
}

Tensor Tensor::empty(Device& device, Shape shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.ld_ = tensor.cols();
  tensor.buffer_ =
      std::allocate_shared<Buffer>(RecordOf<Buffer>(device.allocator()), device,
                                   static_cast<size_t>(shape.count()) * dtype_size(dtype));
  return tensor;
}

Tensor Tensor::over(Device& device, Shape shape, DType dtype, const std::byte* data,
                    std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.ld_ = tensor.cols();
  tensor.buffer_ = std::allocate_shared<Buffer>(
      RecordOf<Buffer>(device.allocator()), device,
      static_cast<size_t>(shape.count()) * dtype_size(dtype), data, std::move(owner));
  return tensor;
}

void Tensor::renew(Device& device, Shape shape, DType dtype) {
  const bool same = buffer_.use_count() == 1 && &buffer_->device == &device && offset_ == 0 &&
                    shape_ == shape && dtype_ == dtype && contiguous();
  if (!same) *this = empty(device, shape, dtype);
  slot_ = nullptr;
}

Tensor Tensor::zeros(Device& device, Shape shape, DType dtype) {
  Tensor tensor = empty(device, shape, dtype);
  if (!device.dry()) std::memset(tensor.raw(), 0, tensor.bytes());
  return tensor;
}

namespace {
template <class T>
Tensor copy_in(Device& device, Shape shape, std::span<const T> values) {
  UM_CHECK(static_cast<int64_t>(values.size()) == shape.count(), "{} values for a tensor {}",
           values.size(), shape.text());
  Tensor tensor = Tensor::empty(device, shape, dtype_of<T>());
  if (!device.dry() && !values.empty())
    std::memcpy(tensor.data<T>(), values.data(), values.size_bytes());
  return tensor;
}
}  // namespace

Tensor Tensor::from(Device& device, Shape shape, std::span<const float> values) {
  return copy_in(device, shape, values);
}
Tensor Tensor::from(Device& device, Shape shape, std::span<const int32_t> values) {
  return copy_in(device, shape, values);
}
Tensor Tensor::from(Device& device, Shape shape, std::span<const int64_t> values) {
  return copy_in(device, shape, values);
}

Device& Tensor::device() const {
  UM_CHECK(defined(), "an undefined tensor has no device");
  return buffer_->device;
}

size_t Tensor::bytes() const {
  return static_cast<size_t>(count()) * dtype_size(dtype_);
}

std::byte* Tensor::raw() const {
  if (buffer_ == nullptr || buffer_->data == nullptr) return nullptr;
  return static_cast<std::byte*>(buffer_->data) + offset_;
}

Tensor Tensor::row_range(int64_t begin, int64_t end) const {
  UM_CHECK(shape_.rank() == 2 && 0 <= begin && begin <= end && end <= rows(),
           "rows {}..{} of a tensor {}", begin, end, shape_.text());
  Tensor view = *this;
  view.slot_ = nullptr;
  view.shape_ = {end - begin, cols()};
  view.offset_ += begin * ld_ * static_cast<int64_t>(dtype_size(dtype_));
  return view;
}

Tensor Tensor::col_range(int64_t begin, int64_t end) const {
  UM_CHECK(0 <= begin && begin <= end && end <= cols(), "columns {}..{} of a tensor {}", begin, end,
           shape_.text());
  Tensor view = *this;
  view.slot_ = nullptr;
  view.shape_ = {rows(), end - begin};
  view.offset_ += begin * static_cast<int64_t>(dtype_size(dtype_));
  return view;
}

Tensor Tensor::reshape(Shape shape) const {
  UM_CHECK(shape.count() == count() && contiguous(), "a tensor {} cannot be seen as {}",
           shape_.text(), shape.text());
  Tensor view = *this;
  view.slot_ = nullptr;
  view.shape_ = shape;
  view.ld_ = view.cols();
  return view;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(device(), shape_, dtype_);
  if (device().dry()) return copy;
  const size_t row_bytes = static_cast<size_t>(cols()) * dtype_size(dtype_);
  for (int64_t row = 0; row < rows(); ++row)
    std::memcpy(copy.raw() + static_cast<size_t>(row) * row_bytes,
                raw() + static_cast<size_t>(row * ld_) * dtype_size(dtype_), row_bytes);
  return copy;
}

std::vector<float> Tensor::to_vector() const {
  const Tensor packed = contiguous() ? *this : clone();
  const float* begin = packed.f32();
  UM_CHECK(begin != nullptr || count() == 0, "a dry tensor {} has no values", shape_.text());
  return {begin, begin + count()};
}

}  // namespace um
