// How much memory is free.
#pragma once

#include <cstdint>
#include <string_view>

namespace um {

/// Bytes that programs can still take without swapping, pages of files counted as free; within a
/// control group at most what its limit leaves. The largest number where the system does not say.
int64_t free_memory_bytes();

/// "MemAvailable" of the text of /proc/meminfo in bytes; -1 if it is not there.
int64_t available_memory(std::string_view meminfo);

/// What a control group's limit leaves in bytes, from the texts of its limit, its use and its
/// memory.stat; -1 where it has no limit. Pages of files (a model that was read) count as free: the
/// kernel drops them when the limit is reached.
int64_t group_memory(std::string_view limit, std::string_view used, std::string_view stat);

}  // namespace um
