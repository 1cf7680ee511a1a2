// See checksum.h. A large array is cut into parts, whose sums zlib combines.
#include "core/checksum.h"

#include <zlib.h>

#include <algorithm>
#include <vector>

namespace um {
namespace {

constexpr size_t kPart = size_t{4} << 20;

uint32_t crc32_of_part(std::span<const std::byte> bytes) {
  const uLong none = crc32_z(0, nullptr, 0);
  return static_cast<uint32_t>(
      crc32_z(none, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

uint32_t crc32_of(std::span<const std::byte> bytes) {
  if (bytes.size() <= kPart) return crc32_of_part(bytes);
  const auto part = [&](size_t i) {
    return bytes.subspan(i * kPart, std::min(kPart, bytes.size() - i * kPart));
  };
  std::vector<uint32_t> sums((bytes.size() + kPart - 1) / kPart);
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = crc32_of_part(part(i));
  uLong all = sums[0];
  for (size_t i = 1; i < sums.size(); ++i)
    all = crc32_combine(all, sums[i], static_cast<z_off_t>(part(i).size()));
  return static_cast<uint32_t>(all);
}

}  // namespace um
