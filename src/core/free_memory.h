// How much memory is free.
#pragma once

#include <cstdint>
#include <string_view>

namespace um {

/// Bytes that programs can still take without swapping, page caches counted as free; within a
/// control group at most what its limit leaves. The largest number where the system does not say.
int64_t free_memory_bytes();

/// "MemAvailable" of the text of /proc/meminfo in bytes; -1 if it is not there.
int64_t available_memory(std::string_view meminfo);

}  // namespace um
