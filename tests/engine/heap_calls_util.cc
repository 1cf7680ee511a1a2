// See heap_calls_util.h. Replaces the program's operator new, but not under a sanitizer, whose own
// finds errors. In a file of its own, so that the compiler does not pair inlined calls.
#include "tests/engine/heap_calls_util.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UM_COUNT_NEW 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UM_COUNT_NEW 0
#endif
#endif
#ifndef UM_COUNT_NEW
#define UM_COUNT_NEW 1
#endif

namespace {
std::atomic<int64_t> calls = 0;
}

#if UM_COUNT_NEW
void* operator new(size_t bytes) {
  calls.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(std::max<size_t>(bytes, 1))) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  calls.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(std::max<size_t>(bytes, 1));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
#endif

namespace um {

int64_t heap_calls() {
  return calls;
}

bool counts_heap_calls() {
  return UM_COUNT_NEW != 0;
}

}  // namespace um
