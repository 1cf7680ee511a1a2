// Numbers out of bytes of files, at any address.
#pragma once

#include <cstddef>
#include <cstring>

namespace um {

/// The value whose bytes begin at `from`, in the machine's order.
template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace um
