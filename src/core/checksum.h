// CRC-32, the checksum of everything we store: shards, checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace um {

/// CRC-32 (zlib's) of some bytes; of many bytes with all threads.
uint32_t crc32_of(std::span<const std::byte> bytes);

}  // namespace um
