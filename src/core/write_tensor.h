// What the writers of weight files share.
#pragma once

#include <functional>
#include <string>

#include "core/error.h"
#include "core/files.h"

namespace um {

/// Writes the bytes that `give` passes to its argument (a std::function of a span). Throws Error
/// naming the file `where` and the tensor unless they are `byte_size` in all.
template <class Give>
void write_tensor(AtomicFile& file, const std::string& where, const std::string& name,
                  uint64_t byte_size, const Give& give) {
  const uint64_t end = file.size() + byte_size;
  give([&](std::span<const std::byte> bytes) {
    UM_CHECK(bytes.size() <= end - file.size(), "{}: tensor {}: more than {} bytes given", where,
             quote(name), byte_size);
    file.write(bytes);
  });
  UM_CHECK(file.size() == end, "{}: tensor {}: {} of {} bytes are missing", where, quote(name),
           end - file.size(), byte_size);
}

}  // namespace um
