// Writing GGUF files (version 3), tensors streamed; see gguf.h for reading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/block_types.h"

namespace um {

/// A metadata value; the alternative decides its type in the file.
using GgufValue = std::variant<uint32_t, int32_t, float, bool, std::string,
                               std::vector<std::string>, std::vector<float>, std::vector<int32_t>>;

struct GgufEntry {
  std::string key;
  GgufValue value;
};

struct GgufTensorSpec {
  std::string name;
  std::vector<int64_t> shape;  // rows first
  BlockType type = BlockType::f32;

  /// Bytes in the file, without padding. Throws Error if rows are no whole blocks.
  uint64_t byte_size() const;
};

using GgufSink = std::function<void(std::span<const std::byte>)>;
/// Passes exactly the tensor's bytes to the sink, in any number of pieces.
using GgufSource = std::function<void(const GgufTensorSpec&, const GgufSink&)>;

/// Writes one file atomically; `source` is called once per tensor, in the order given. Throws Error
/// for names or keys that readers refuse (empty, twice, 64 bytes and more for a tensor) and for a
/// source of the wrong length.
void write_gguf(const std::filesystem::path& path, const std::vector<GgufEntry>& metadata,
                const std::vector<GgufTensorSpec>& tensors, const GgufSource& source);

}  // namespace um
