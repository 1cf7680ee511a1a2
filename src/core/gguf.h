// GGUF files (version 2 and 3, little-endian): metadata and the table of tensors, memory-mapped.
// What the types of tensors mean is in block_types.h. Facts: docs/formats.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace um {

/// Types of metadata values, by their number in the file.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // rows first, as elsewhere: the file's `ne` reversed
  uint32_t type = 0;           // ggml type
  uint64_t offset = 0;         // in the tensor data
};

class Gguf {
 public:
  /// Maps and checks a file: magic, version, bounds of every count, string and array, keys and
  /// names that appear twice, offsets inside the file. Throws Error naming the file and the place.
  explicit Gguf(const std::filesystem::path& path);
  /// The same over bytes in memory, which must outlive this object; `name` is for errors.
  Gguf(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  /// Whether the key has an array.
  bool is_array(std::string_view key) const;

  /// A value, or nothing if the key is absent. Throws Error if it is of another kind: integer takes
  /// all widths (an unsigned one above 2^63 - 1 is an Error), number also integers.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;

  /// An array, empty if the key is absent. Throws Error if its elements are of another kind, or too
  /// large. The views live as long as this object.
  std::vector<std::string_view> strings(std::string_view key) const;
  std::vector<int32_t> int32s(std::string_view key) const;
  std::vector<float> floats(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// The bytes of one of these tensors. Throws Error if its type is not one that we read, its rows
  /// are no whole blocks, or it does not lie inside the file.
  std::span<const std::byte> contents(const GgufTensor& tensor) const;
  /// Null if it was made of bytes.
  const MappedFile* file() const { return file_ ? &*file_ : nullptr; }

 private:
  /// Where a value lies; for arrays `element` and `count` describe it.
  struct Value {
    GgufType type, element;
    uint64_t count;
    std::span<const std::byte> bytes;
  };
  class Reader;
  void read();
  void read_values(Reader& reader, uint64_t count);
  void read_tensors(Reader& reader, uint64_t count);
  void check_apart() const;
  const Value* find(std::string_view key) const;
  int64_t integer_at(const Value& value, GgufType type, size_t index, std::string_view key) const;
  [[noreturn]] void wrong(std::string_view key, std::string_view expected) const;

  std::optional<MappedFile> file_;
  std::span<const std::byte> bytes_, data_;
  std::string name_;
  std::map<std::string, Value, std::less<>> values_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace um
