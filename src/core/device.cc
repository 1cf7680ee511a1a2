// See device.h.
#include "core/device.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <numeric>

#include "core/error.h"
#include "core/units.h"

namespace um {

void Meter::add(std::string_view kernel, double flops, double bytes, double seconds) {
  auto found = entries_.find(kernel);
  if (found == entries_.end()) found = entries_.emplace(std::string(kernel), MeterEntry{}).first;
  MeterEntry& entry = found->second;
  ++entry.calls;
  entry.flops += flops;
  entry.bytes += bytes;
  entry.seconds += seconds;
}

MeterEntry Meter::total() const {
  MeterEntry sum;
  for (const auto& [name, entry] : entries_) {
    sum.calls += entry.calls;
    sum.flops += entry.flops;
    sum.bytes += entry.bytes;
    sum.seconds += entry.seconds;
  }
  return sum;
}

namespace {
constexpr size_t kSmallest = 256;
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

size_t Allocator::class_bytes(size_t bytes) {
  if (bytes <= kSmallest) return kSmallest;
  const size_t step = std::bit_floor(bytes - 1) / 4;  // four classes between powers of two
  return (bytes + step - 1) / step * step;
}

void* Allocator::allocate(size_t bytes) {
  const size_t size = class_bytes(bytes);
  std::lock_guard lock(mutex_);
  const auto count = [&](void* block) {
    used_ += size;
    peak_ = std::max(peak_, used_);
    return block;
  };
  if (dry_) return count(nullptr);
  auto& free_blocks = cached_[size];
  if (!free_blocks.empty()) {
    void* block = free_blocks.back();
    free_blocks.pop_back();
    return count(block);
  }
  // Large blocks start on a huge-page border, so that the kernel can back them with huge pages.
  const size_t alignment = size >= kHugePage ? kHugePage : 64;
  const size_t padded = (size + alignment - 1) / alignment * alignment;
  void* block = std::aligned_alloc(alignment, padded);
  if (block == nullptr) {  // what is cached for other sizes may be what is missing
    free_cached();
    block = std::aligned_alloc(alignment, padded);
  }
  UM_CHECK(block != nullptr,
           "out of memory: asked for {} with {} in use; use a smaller batch or model",
           bytes_text(static_cast<double>(size)), bytes_text(static_cast<double>(used_)));
  ++system_allocations_;
  if (size >= kHugePage) ::madvise(block, size, MADV_HUGEPAGE);
  return count(block);
}

void Allocator::release(void* block, size_t bytes) {
  const size_t size = class_bytes(bytes);
  std::lock_guard lock(mutex_);
  used_ -= size;
  if (block != nullptr) cached_[size].push_back(block);
}

void* Allocator::take_record() {
  {
    std::lock_guard lock(mutex_);
    if (!records_.empty()) {
      void* record = records_.back();
      records_.pop_back();
      return record;
    }
  }
  return ::operator new(kRecordBytes);
}

void Allocator::give_record(void* record) {
  std::lock_guard lock(mutex_);
  records_.push_back(record);
}

void Allocator::release_cached() {
  std::lock_guard lock(mutex_);
  free_cached();
}

void Allocator::free_cached() {
  for (auto& [size, blocks] : cached_)
    for (void* block : blocks) std::free(block);
  cached_.clear();
  for (void* record : records_) ::operator delete(record);
  records_.clear();
}

}  // namespace um
