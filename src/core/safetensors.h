// Strict reading and streaming writing of safetensors files and of checkpoint directories made of
// them (one file, or shards with an index). Format and rules: the format's specification.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/files.h"

namespace um {

/// Name, type and shape of a tensor in a file; row-major, rank 0 is one element.
struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;

  int64_t elements() const;
  /// Bytes in a file. Throws Error if the product overflows or is not a whole number of bytes.
  uint64_t byte_size() const;
};

/// A tensor of an open file. `bytes` points into the map and may lie at any address.
struct TensorView : TensorSpec {
  std::span<const std::byte> bytes;
};

struct SafetensorsContents {
  std::vector<TensorView> tensors;  // sorted by name
  std::map<std::string, std::string> metadata;
};

/// Checks and reads the bytes of a whole file. The views point into `bytes`. Throws Error starting
/// with `where` for anything the format forbids: length, header, offsets with holes or overlap,
/// sizes, unknown types or keys, duplicate names.
SafetensorsContents parse_safetensors(std::span<const std::byte> bytes, std::string_view where);

/// One memory-mapped safetensors file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<TensorView>& tensors() const { return contents_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return contents_.metadata; }
  /// The tensor of this name, or null.
  const TensorView* find(std::string_view name) const;
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  SafetensorsContents contents_;
};

/// All tensors of a checkpoint: a directory with `model.safetensors`, else with
/// `model.safetensors.index.json` and its shards, or a single .safetensors file.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& path);

  /// The tensor of this name, or null.
  const TensorView* find(std::string_view name) const;
  /// The tensor of this name. Throws Error naming checkpoint and tensor.
  const TensorView& at(std::string_view name) const;
  /// All tensors by name.
  const std::map<std::string, const TensorView*, std::less<>>& tensors() const { return tensors_; }
  /// Harmless oddities: tensors in a shard that the index does not map, a wrong total size.
  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }
  /// Bytes of all tensors.
  uint64_t total_bytes() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  void open_index(const std::filesystem::path& index);

  std::filesystem::path path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const TensorView*, std::less<>> tensors_;
  std::vector<std::string> warnings_;
};

/// Takes the next bytes of the tensor being written.
using TensorSink = std::function<void(std::span<const std::byte>)>;
/// Passes exactly the tensor's bytes to the sink, in any number of pieces.
using TensorSource = std::function<void(const TensorSpec&, const TensorSink&)>;

/// Writes one file atomically. `source` is called once per tensor in file order: alignment
/// descending, then name. The first begins at a multiple of `alignment` bytes. Throws Error for
/// duplicate names or a source of the wrong length.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                       const TensorSource& source,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}},
                       size_t alignment = 8);

/// The same for tensors in memory.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// "model-00002-of-00007.safetensors": shard `index` from 0.
std::string shard_name(size_t index, size_t count);
/// Writes model.safetensors.index.json: the shard of each tensor, and the bytes of all. A single
/// model.safetensors, which would hide it, goes.
void write_shard_index(const std::filesystem::path& directory,
                       const std::map<std::string, std::string>& shard_of, uint64_t bytes);

/// Writes `model.safetensors`, or, when the tensors take more than `max_shard_bytes` (0 = no
/// limit), shards filled in the given order, then the index. What was there before is replaced; an
/// old index goes first, so that no index ever names a mix of old and new shards. A run that must
/// never lose its last checkpoint writes into a new directory.
void write_checkpoint(const std::filesystem::path& directory,
                      const std::vector<TensorSpec>& tensors, const TensorSource& source,
                      uint64_t max_shard_bytes = 0);

}  // namespace um
