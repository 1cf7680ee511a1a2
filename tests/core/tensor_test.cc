// Tensors: shapes, views and their bounds, copies; the allocator under them.
#include "core/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/registry.h"

namespace um {
namespace {

Tensor counting(Device& device, Shape shape) {
  std::vector<float> values(static_cast<size_t>(shape.count()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(device, shape, std::span<const float>(values));
}

class TensorTest : public ::testing::Test {
 protected:
  Device device_{"test", find_kernels("ref")};
};

TEST_F(TensorTest, ShapeCountsAndIndexesFromBothEnds) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.count(), 24);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape.text(), "[2, 3, 4]");
  EXPECT_EQ(Shape().count(), 1);
  EXPECT_EQ(Shape({5, 0}).count(), 0);
}

TEST_F(TensorTest, RefusesImpossibleShapes) {
  EXPECT_THROW(Shape({1, 2, 3, 4, 5}), Error);
  EXPECT_THROW(Shape({-1}), Error);
  EXPECT_THROW(Shape({int64_t{1} << 40, int64_t{1} << 40}), Error);
  EXPECT_THROW(Shape({0, int64_t{1} << 40, int64_t{1} << 40}), Error);
}

TEST_F(TensorTest, RowsAndColumnsShareMemory) {
  const Tensor whole = counting(device_, {3, 4});
  const Tensor rows = whole.row_range(1, 3), part = rows.col_range(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 4}));
  EXPECT_TRUE(rows.contiguous());
  EXPECT_EQ(part.shape(), (Shape{2, 2}));
  EXPECT_EQ(part.ld(), 4);
  EXPECT_FALSE(part.contiguous());
  EXPECT_EQ(part.to_vector(), (std::vector<float>{5, 6, 9, 10}));
  *part.f32() = -1;
  EXPECT_EQ(whole.to_vector()[5], -1);
  *part.clone().f32() = -2;  // a copy has its own memory
  EXPECT_EQ(whole.to_vector()[5], -1);
}

TEST_F(TensorTest, ViewsKeepTheirBounds) {
  const Tensor whole = counting(device_, {3, 4});
  EXPECT_EQ(whole.row_range(3, 3).count(), 0);
  EXPECT_THROW(whole.row_range(2, 1), Error);
  EXPECT_THROW(whole.row_range(-1, 1), Error);
  EXPECT_THROW(whole.row_range(0, 4), Error);
  EXPECT_THROW(whole.col_range(0, 5), Error);
  EXPECT_THROW(whole.col_range(0, 2).reshape({6}), Error);  // its rows are apart
  EXPECT_THROW(whole.reshape({5}), Error);
  EXPECT_EQ(whole.reshape({2, 6}).row_range(1, 2).to_vector(),
            (std::vector<float>{6, 7, 8, 9, 10, 11}));
}

TEST_F(TensorTest, ViewsHaveNoGradient) {
  Tensor whole = counting(device_, {3, 4});
  whole.set_slot(reinterpret_cast<GradSlot*>(&device_));
  EXPECT_EQ(whole.row_range(0, 1).slot(), nullptr);
  EXPECT_EQ(whole.col_range(0, 1).slot(), nullptr);
  EXPECT_EQ(whole.reshape({12}).slot(), nullptr);
  EXPECT_EQ(whole.clone().slot(), nullptr);
}

TEST_F(TensorTest, ElementTypeIsChecked) {
  const Tensor ids = Tensor::zeros(device_, {3}, DType::i32);
  EXPECT_EQ(ids.i32()[2], 0);
  EXPECT_THROW(ids.f32(), Error);
  EXPECT_THROW(Tensor::from(device_, {2}, std::span<const float>()), Error);
}

TEST_F(TensorTest, AViewOutlivesItsTensor) {
  Tensor last;
  {
    const Tensor whole = counting(device_, {3, 4});
    last = whole.row_range(2, 3);
  }
  EXPECT_EQ(last.to_vector(), (std::vector<float>{8, 9, 10, 11}));
}

TEST_F(TensorTest, EmptyTensorsAreOrdinary) {
  const Tensor none = Tensor::zeros(device_, {0, 4});
  EXPECT_TRUE(none.defined());
  EXPECT_EQ(none.rows(), 0);
  EXPECT_TRUE(none.to_vector().empty());
  EXPECT_EQ(none.clone().count(), 0);
  EXPECT_EQ(Tensor::empty(device_, {4, 0}).rows(), 0);
  EXPECT_FALSE(Tensor().defined());
  EXPECT_THROW(Tensor().device(), Error);
}

TEST_F(TensorTest, DryTensorsHaveNoMemory) {
  Device dry("dry", nullptr);
  const Tensor tensor = Tensor::zeros(dry, {1000, 1000});
  EXPECT_EQ(tensor.f32(), nullptr);
  EXPECT_EQ(tensor.row_range(5, 6).f32(), nullptr);
  EXPECT_EQ(dry.allocator().used_bytes(), Allocator::class_bytes(4'000'000));
  EXPECT_THROW(tensor.to_vector(), Error);
}

TEST(AllocatorTest, ClassesAreAlignedAndAtMostAQuarterLarger) {
  EXPECT_EQ(Allocator::class_bytes(0), 256u);
  EXPECT_EQ(Allocator::class_bytes(256), 256u);
  EXPECT_EQ(Allocator::class_bytes(257), 320u);
  for (size_t bytes = 257; bytes < (size_t{1} << 40); bytes += bytes / 7 + 1) {
    const size_t size = Allocator::class_bytes(bytes);
    ASSERT_GE(size, bytes);
    ASSERT_LE(size - bytes, bytes / 4 + 64) << bytes;
    ASSERT_EQ(size % 64, 0u) << bytes;
    ASSERT_EQ(Allocator::class_bytes(size), size) << bytes;
  }
}

TEST(AllocatorTest, FreedBlocksAreUsedAgain) {
  Allocator allocator(false);
  void* first = allocator.allocate(1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  allocator.release(first, 1000);
  EXPECT_EQ(allocator.used_bytes(), 0u);
  EXPECT_EQ(allocator.allocate(1010), first);  // the same class
  void* other = allocator.allocate(1010);
  EXPECT_NE(other, first);
  EXPECT_EQ(allocator.system_allocations(), 2u);
  EXPECT_EQ(allocator.peak_bytes(), 2 * Allocator::class_bytes(1000));
  allocator.release(first, 1010);
  allocator.release(other, 1010);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define UM_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UM_SANITIZED 1
#endif

TEST(AllocatorTest, AFailedRequestLeavesTheCountsAlone) {
#ifdef UM_SANITIZED
  GTEST_SKIP() << "sanitizers abort on requests beyond the address space";
#endif
  Allocator allocator(false);
  void* block = allocator.allocate(1000);
  const size_t used = allocator.used_bytes();
  EXPECT_THROW(allocator.allocate(size_t{1} << 60), Error);
  EXPECT_EQ(allocator.used_bytes(), used);
  EXPECT_EQ(allocator.peak_bytes(), used);
  allocator.release(block, 1000);
}

TEST_F(TensorTest, RenewKeepsMemoryThatNobodyElseSees) {
  Device& device = device_;
  Tensor t = Tensor::empty(device, {3, 4});
  const float* memory = t.f32();
  t.renew(device, {3, 4}, DType::f32);
  EXPECT_EQ(t.f32(), memory);
  {
    const Tensor other = t;
    t.renew(device, {3, 4}, DType::f32);
    EXPECT_NE(t.f32(), other.f32());
    EXPECT_EQ(other.f32(), memory);
  }
  t.renew(device, {4, 3}, DType::i32);
  EXPECT_EQ(t.dtype(), DType::i32);
  EXPECT_EQ(t.shape(), Shape({4, 3}));
  Tensor part = Tensor::empty(device, {3, 4}).row_range(1, 3);
  part.renew(device, {2, 4}, DType::f32);  // of a larger block
  EXPECT_EQ(part.bytes(), 2u * 4u * 4u);
}

}  // namespace
}  // namespace um
