// Reading. Every length and offset of a file is checked before it is used; see safetensors.h.
#include "core/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/input_file.h"
#include "core/json.h"
#include "core/paths.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxHeader = 100'000'000;              // the reference reader's limit
constexpr int64_t kMaxInteger = (int64_t{1} << 48) - 1;   // the schema's limit
constexpr uint64_t kMaxIndexBytes = uint64_t{256} << 20;  // 718B has 47 thousand names, 6 MB
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// A tensor's place in the data buffer: [begin, end).
struct Extent {
  uint64_t begin, end;
  size_t tensor;
};

std::string_view read_header(std::span<const std::byte> bytes, std::string_view where) {
  UM_CHECK(bytes.size() >= 8, "{}: not a safetensors file: expected at least 8 bytes, found {}",
           where, bytes.size());
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  UM_CHECK(length <= kMaxHeader, "{}: header of {} bytes, the limit is {}", where, length,
           kMaxHeader);
  UM_CHECK(length <= bytes.size() - 8, "{}: truncated: a header of {} bytes in a file of {}", where,
           length, bytes.size());
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  UM_CHECK(header.starts_with('{'), "{}: header: expected a JSON object", where);
  return header;
}

std::map<std::string, std::string> read_metadata(const JsonObject& metadata) {
  std::map<std::string, std::string> found;
  for (const auto& [key, value] : metadata.json().items()) {
    UM_CHECK(value.is_string(), "{}: key {}: expected a string, found {}", metadata.where(),
             quote(key), describe(value));
    found[key] = value.get<std::string>();
  }
  return found;
}

int64_t read_size(const Json& value, std::string_view where, std::string_view field) {
  UM_CHECK(value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{kMaxInteger},
           "{}: {}: expected integers from 0 to {}, found {}", where, field, kMaxInteger,
           describe(value));
  return static_cast<int64_t>(value.get<uint64_t>());
}

/// Reads one tensor's entry: its type, shape and extent, which has to fit them.
Extent read_entry(const JsonObject& entry, TensorSpec& tensor) {
  for (const auto& [key, value] : entry.json().items()) {
    UM_CHECK(key == "dtype" || key == "shape" || key == "data_offsets",
             "{}: unknown key {}, expected dtype, shape and data_offsets", entry.where(),
             quote(key));
  }
  const std::string dtype = entry.string("dtype");
  const auto known = dtype_from_file_name(dtype);
  UM_CHECK(known.has_value(), "{}: dtype: unknown type {}", entry.where(), quote(dtype));
  tensor.dtype = *known;
  const Json* shape = entry.find("shape");
  if (shape == nullptr || !shape->is_array()) entry.wrong("shape", "a list of integers");
  for (const Json& size : *shape) tensor.shape.push_back(read_size(size, entry.where(), "shape"));
  const Json* offsets = entry.find("data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2) {
    entry.wrong("data_offsets", "a list of two integers");
  }
  Extent extent{};
  extent.begin = static_cast<uint64_t>(read_size((*offsets)[0], entry.where(), "data_offsets"));
  extent.end = static_cast<uint64_t>(read_size((*offsets)[1], entry.where(), "data_offsets"));
  UM_CHECK(extent.begin <= extent.end, "{}: data_offsets: end {} before begin {}", entry.where(),
           extent.end, extent.begin);
  uint64_t expected = 0;
  try {
    expected = tensor.byte_size();
  } catch (const Error& error) {
    fail("{}: {}", entry.where(), error.what());
  }
  UM_CHECK(extent.end - extent.begin == expected, "{}: {} bytes by shape and dtype, {} by offsets",
           entry.where(), expected, extent.end - extent.begin);
  return extent;
}

/// The extents have to cover the data buffer exactly, without holes or overlap.
void check_extents(std::vector<Extent> extents, uint64_t data_size, std::string_view where,
                   const std::vector<TensorView>& tensors) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    UM_CHECK(extent.begin == end, "{}: tensor {} begins at {}, the one before it ends at {}", where,
             quote(tensors[extent.tensor].name), extent.begin, end);
    end = extent.end;
  }
  UM_CHECK(end == data_size, "{}: tensors take {} bytes, the file holds {} after its header", where,
           end, data_size);
}

/// A shard's file name comes from the index: it must stay in the index's directory.
void check_shard_name(const std::string& name, std::string_view where) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c > 32 && c < 127 && c != '/' && c != '\\' && c != ':';
  });
  UM_CHECK(plain && name.size() <= 255 && !name.starts_with('.') && name.ends_with(".safetensors"),
           "{}: weight_map: expected a plain name NAME.safetensors, found {}", where, quote(name));
}

}  // namespace

int64_t TensorSpec::elements() const {
  int64_t product = 1;
  for (const int64_t size : shape) {
    UM_CHECK(size >= 0 && !__builtin_mul_overflow(product, size, &product),
             "shape: number of elements overflows 63 bits");
  }
  return product;
}

uint64_t TensorSpec::byte_size() const {
  uint64_t bits = 0;
  UM_CHECK(!__builtin_mul_overflow(static_cast<uint64_t>(elements()),
                                   static_cast<uint64_t>(dtype_bits(dtype)), &bits),
           "shape: number of bits overflows 64 bits");
  UM_CHECK(bits % 8 == 0, "shape: {} elements of {} are not a whole number of bytes", elements(),
           dtype_name(dtype));
  return bits / 8;
}

SafetensorsContents parse_safetensors(std::span<const std::byte> bytes, std::string_view where) {
  const std::string_view header = read_header(bytes, where);
  const Json json = parse_json(header, fmt::format("{}: header", where), {.max_depth = 4});
  const std::span<const std::byte> data = bytes.subspan(8 + header.size());

  SafetensorsContents contents;
  std::vector<Extent> extents;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      contents.metadata = read_metadata(JsonObject(value, fmt::format("{}: __metadata__", where)));
      continue;
    }
    TensorView tensor;
    tensor.name = name;
    const JsonObject entry(value, fmt::format("{}: tensor {}", where, quote(name)));
    Extent extent = read_entry(entry, tensor);
    UM_CHECK(extent.end <= data.size(), "{}: tensor {} ends at byte {} of the data, found only {}",
             where, quote(name), extent.end, data.size());
    extent.tensor = contents.tensors.size();
    tensor.bytes = data.subspan(extent.begin, extent.end - extent.begin);
    extents.push_back(extent);
    contents.tensors.push_back(std::move(tensor));  // Json keeps keys sorted
  }
  check_extents(std::move(extents), data.size(), where, contents.tensors);
  return contents;
}

SafetensorsFile::SafetensorsFile(const fs::path& path)
    : file_(path, true), contents_(parse_safetensors(file_.bytes(), path.string())) {}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors().begin(), tensors().end(), name,
      [](const TensorView& tensor, std::string_view n) { return tensor.name < n; });
  return at == tensors().end() || at->name != name ? nullptr : &*at;
}

CheckpointReader::CheckpointReader(const fs::path& path) : path_(path) {
  std::error_code ignored;
  const bool directory = fs::is_directory(path, ignored);
  const fs::path single = directory ? path / kSingleFile : path;
  const fs::path index = path / kIndexFile;
  if (directory) check_optional_file(index);
  if (directory && !path_exists(single)) {
    UM_CHECK(path_exists(index), "{}: no checkpoint: expected {} or {}", path.string(), kSingleFile,
             kIndexFile);
    open_index(index);
    return;
  }
  files_.push_back(std::make_unique<SafetensorsFile>(single));
  for (const TensorView& tensor : files_.back()->tensors()) tensors_.emplace(tensor.name, &tensor);
}

void CheckpointReader::open_index(const fs::path& index) {
  const Json json = read_json_file(index, kMaxIndexBytes);
  const JsonObject root(json, index.string());
  const JsonObject map = root.object("weight_map");
  std::map<std::string, const SafetensorsFile*> shards;
  for (const auto& [name, value] : map.json().items()) {
    UM_CHECK(value.is_string(), "{}: weight_map: tensor {}: expected a file name, found {}",
             index.string(), quote(name), describe(value));
    const auto& file = value.get_ref<const std::string&>();
    const SafetensorsFile*& shard = shards[file];
    if (shard == nullptr) {
      check_shard_name(file, index.string());
      files_.push_back(std::make_unique<SafetensorsFile>(path_ / file));
      shard = files_.back().get();
    }
    const TensorView* tensor = shard->find(name);
    UM_CHECK(tensor != nullptr, "{}: weight_map: tensor {} is not in {}", index.string(),
             quote(name), file);
    tensors_.emplace(name, tensor);
  }
  for (const auto& [file, shard] : shards) {
    for (const TensorView& tensor : shard->tensors()) {
      const auto at = tensors_.find(tensor.name);
      if (at != tensors_.end() && at->second == &tensor) continue;
      warnings_.push_back(fmt::format("{}: tensor {} of {} is not mapped to it, ignored",
                                      index.string(), quote(tensor.name), file));
    }
  }
  if (!root.has("metadata") || !root.object("metadata").has("total_size")) return;
  const double stated = root.object("metadata").number("total_size", 0, 1e18);  // some write 1e9
  if (stated != static_cast<double>(total_bytes())) {
    warnings_.push_back(fmt::format("{}: metadata.total_size is {:.0f}, the tensors take {} bytes",
                                    index.string(), stated, total_bytes()));
  }
}

const TensorView* CheckpointReader::find(std::string_view name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : at->second;
}

const TensorView& CheckpointReader::at(std::string_view name) const {
  const TensorView* tensor = find(name);
  UM_CHECK(tensor != nullptr, "{}: tensor \"{}\" is missing", path_.string(), name);
  return *tensor;
}

uint64_t CheckpointReader::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor->bytes.size();
  return total;
}

}  // namespace um
