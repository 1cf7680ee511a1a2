// Counts what the test program takes from the heap.
#pragma once

#include <cstdint>

namespace um {

/// Calls of operator new so far, of all threads; 0 where a sanitizer has its own.
int64_t heap_calls();
bool counts_heap_calls();

}  // namespace um
