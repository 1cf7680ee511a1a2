// See gguf.h.
#include "core/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "core/block_types.h"
#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr uint64_t kMaxValues = 1 << 16, kMaxTensors = 1 << 20, kMaxArray = 1 << 26;
constexpr uint64_t kMaxKey = 65535, kMaxTensorName = 1024, kMaxString = uint64_t{1} << 28;

size_t width_of(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;  // strings and arrays
  }
}

/// A type in words that also name an array's elements.
std::string name_of(GgufType type) {
  static constexpr std::array<const char*, 13> kNames = {
      "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<size_t>(type)];
}

template <class T>
T load(std::span<const std::byte> bytes, size_t index) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

/// Steps through the file; every step is checked against what is left.
class Gguf::Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    UM_CHECK(size <= bytes_.size() - at_, "{}: cut off at byte {}: {} needs {} bytes, {} are left",
             name_, at_, what, size, bytes_.size() - at_);
    const auto part = bytes_.subspan(at_, size);
    at_ += size;
    return part;
  }
  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what), 0);
  }
  uint64_t count(std::string_view what, uint64_t limit) {
    const auto value = number<uint64_t>(what);
    UM_CHECK(value <= limit, "{}: {} is {}, the limit is {}", name_, what, value, limit);
    return value;
  }
  std::string_view string(std::string_view what, uint64_t limit) {
    return as_text(take(count(what, limit), what));
  }
  GgufType type(std::string_view what) {
    const auto value = number<uint32_t>(what);
    UM_CHECK(value <= static_cast<uint32_t>(GgufType::kFloat64),
             "{}: {}: value type {}, expected 0 "
             "to 12",
             name_, what, value);
    return static_cast<GgufType>(value);
  }
  /// Strings lie one after the other, each behind its length.
  std::span<const std::byte> strings(uint64_t count, std::string_view what) {
    const size_t begin = at_;
    for (uint64_t i = 0; i < count; ++i) string(what, kMaxString);
    return bytes_.subspan(begin, at_ - begin);
  }
  size_t at() const { return at_; }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
  size_t at_ = 0;
};

Gguf::Gguf(const std::filesystem::path& path)
    : file_(std::in_place, path, true), name_(path.string()) {
  bytes_ = file_->bytes();
  read();
}

Gguf::Gguf(std::span<const std::byte> bytes, std::string name)
    : bytes_(bytes), name_(std::move(name)) {
  read();
}

void Gguf::read() {
  Reader reader(bytes_, name_);
  UM_CHECK(as_text(reader.take(4, "the magic")) == "GGUF", "{}: not a GGUF file", name_);
  const auto version = reader.number<uint32_t>("version");
  UM_CHECK((version & 0xFFFF) != 0, "{}: a big-endian GGUF file", name_);
  UM_CHECK(version == 2 || version == 3, "{}: GGUF version {}, expected 2 or 3", name_, version);
  const uint64_t tensors = reader.count("number of tensors", kMaxTensors);
  read_values(reader, reader.count("number of metadata values", kMaxValues));
  read_tensors(reader, tensors);
  const int64_t alignment = integer("general.alignment").value_or(32);
  UM_CHECK(alignment > 0 && alignment <= 1 << 20 &&
               std::has_single_bit(static_cast<uint64_t>(alignment)),
           "{}: general.alignment is {}, expected a power of two up to 2^20", name_, alignment);
  const auto step = static_cast<size_t>(alignment);
  const size_t begin = std::min((reader.at() + step - 1) / step * step, bytes_.size());
  data_ = bytes_.subspan(begin);
  for (const GgufTensor& tensor : tensors_) {
    UM_CHECK(tensor.offset % step == 0 && tensor.offset <= data_.size(),
             "{}: tensor {} lies at offset {}, expected a multiple of {} up to {}, where the file "
             "ends: is it cut off?",
             name_, quote(tensor.name), tensor.offset, step, data_.size());
  }
  check_apart();
}

void Gguf::read_values(Reader& reader, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key(reader.string("a metadata key", kMaxKey));
    Value value{reader.type(key), GgufType::kUint8, 1, {}};
    if (value.type == GgufType::kArray) {
      value.element = reader.type(key);
      UM_CHECK(value.element != GgufType::kArray, "{}: {}: an array of arrays", name_, quote(key));
      value.count = reader.count(key, kMaxArray);
      const size_t width = width_of(value.element);
      value.bytes =
          width > 0 ? reader.take(value.count * width, key) : reader.strings(value.count, key);
    } else {
      const size_t width = width_of(value.type);
      value.bytes = width > 0 ? reader.take(width, key) : reader.strings(1, key);
    }
    UM_CHECK(!key.empty() && values_.emplace(key, value).second,
             "{}: metadata key {} is empty or appears twice", name_, quote(key));
  }
}

void Gguf::read_tensors(Reader& reader, uint64_t count) {
  std::set<std::string_view> names;  // no hashes, which names could be made to share
  for (uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    const std::string_view name = reader.string("a tensor name", kMaxTensorName);
    tensor.name = name;
    UM_CHECK(names.insert(name).second, "{}: tensor {} appears twice", name_, quote(tensor.name));
    const auto rank = reader.number<uint32_t>("a tensor's rank");
    UM_CHECK(rank <= 4, "{}: tensor {} has {} dimensions, the limit is 4", name_,
             quote(tensor.name), rank);
    int64_t elements = 1;
    for (uint32_t d = 0; d < rank; ++d) {
      const auto size = reader.number<int64_t>("a tensor's shape");
      UM_CHECK(size >= 0 && (size == 0 || elements <= std::numeric_limits<int64_t>::max() / size),
               "{}: tensor {} has an impossible shape", name_, quote(tensor.name));
      elements *= size;
      tensor.shape.insert(tensor.shape.begin(), size);
    }
    tensor.type = reader.number<uint32_t>("a tensor's type");
    tensor.offset = reader.number<uint64_t>("a tensor's offset");
    tensors_.push_back(std::move(tensor));
  }
}

/// Tensors that lie on each other would let a small file stand for any number of weights. What
/// cannot be read, of an unknown type or cut off, is for contents() to say.
void Gguf::check_apart() const {
  struct Extent {
    uint64_t begin, end;
    const GgufTensor* tensor;
  };
  std::vector<Extent> extents;
  for (const GgufTensor& tensor : tensors_) {
    const BlockFormat* format = find_block_format(tensor.type);
    if (format == nullptr) continue;
    uint64_t elements = 1, bytes = 0;
    for (const int64_t size : tensor.shape) elements *= static_cast<uint64_t>(size);
    if (__builtin_mul_overflow(elements / format->elements, format->bytes, &bytes)) continue;
    bytes = std::min<uint64_t>(bytes, data_.size() - tensor.offset);
    if (bytes > 0) extents.push_back({tensor.offset, tensor.offset + bytes, &tensor});
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i)
    UM_CHECK(extents[i - 1].end <= extents[i].begin, "{}: tensors {} and {} lie on each other",
             name_, quote(extents[i - 1].tensor->name), quote(extents[i].tensor->name));
}

std::span<const std::byte> Gguf::contents(const GgufTensor& tensor) const {
  const BlockFormat* format = find_block_format(tensor.type);
  UM_CHECK(format != nullptr, "{}: tensor {}: type {} ({}), expected one of {}", name_,
           quote(tensor.name), tensor.type, block_type_name(tensor.type), readable_block_types());
  const uint64_t row = tensor.shape.empty() ? 1 : static_cast<uint64_t>(tensor.shape.back());
  UM_CHECK(row % format->elements == 0, "{}: tensor {}: rows of {} values, expected blocks of {}",
           name_, quote(tensor.name), row, format->elements);
  uint64_t blocks = row / format->elements;
  for (size_t d = 0; d + 1 < tensor.shape.size(); ++d)
    blocks *= static_cast<uint64_t>(tensor.shape[d]);  // the product of all was found to fit
  UM_CHECK(
      tensor.offset <= data_.size() && blocks <= (data_.size() - tensor.offset) / format->bytes,
      "{}: cut off: tensor {} needs {} blocks of {} bytes from offset {}, the file has {} bytes "
      "there",
      name_, quote(tensor.name), blocks, format->bytes, tensor.offset,
      data_.size() - std::min<uint64_t>(tensor.offset, data_.size()));
  return data_.subspan(tensor.offset, blocks * format->bytes);
}

bool Gguf::is_array(std::string_view key) const {
  const Value* value = find(key);
  return value != nullptr && value->type == GgufType::kArray;
}

const Gguf::Value* Gguf::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

void Gguf::wrong(std::string_view key, std::string_view expected) const {
  const Value& value = *find(key);
  const bool array = value.type == GgufType::kArray;
  fail("{}: {}: expected {}, found {}", name_, key, expected,
       array ? fmt::format("an array of {}", name_of(value.element)) : name_of(value.type));
}

int64_t Gguf::integer_at(const Value& value, GgufType type, size_t index,
                         std::string_view key) const {
  switch (type) {
    case GgufType::kUint8:
      return load<uint8_t>(value.bytes, index);
    case GgufType::kInt8:
      return load<int8_t>(value.bytes, index);
    case GgufType::kUint16:
      return load<uint16_t>(value.bytes, index);
    case GgufType::kInt16:
      return load<int16_t>(value.bytes, index);
    case GgufType::kUint32:
      return load<uint32_t>(value.bytes, index);
    case GgufType::kInt32:
      return load<int32_t>(value.bytes, index);
    case GgufType::kInt64:
      return load<int64_t>(value.bytes, index);
    case GgufType::kUint64: {
      const auto number = load<uint64_t>(value.bytes, index);
      UM_CHECK(number <= uint64_t{std::numeric_limits<int64_t>::max()}, "{}: {}: {} is too large",
               name_, key, number);
      return static_cast<int64_t>(number);
    }
    default:
      wrong(key, type == value.type ? "an integer" : "a list of integers");
  }
}

std::optional<int64_t> Gguf::integer(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  return integer_at(*value, value->type, 0, key);
}

std::optional<double> Gguf::number(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (value->type == GgufType::kFloat32) return load<float>(value->bytes, 0);
  if (value->type == GgufType::kFloat64) return load<double>(value->bytes, 0);
  if (width_of(value->type) == 0 || value->type == GgufType::kBool) wrong(key, "a number");
  return static_cast<double>(integer_at(*value, value->type, 0, key));
}

std::optional<bool> Gguf::boolean(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (value->type != GgufType::kBool) wrong(key, "a boolean");
  return load<uint8_t>(value->bytes, 0) != 0;
}

std::optional<std::string_view> Gguf::string(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (value->type != GgufType::kString) wrong(key, "a string");
  return as_text(value->bytes.subspan(sizeof(uint64_t)));
}

std::vector<std::string_view> Gguf::strings(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (value->type != GgufType::kArray || value->element != GgufType::kString) {
    wrong(key, "a list of strings");
  }
  std::vector<std::string_view> out;
  out.reserve(value->count);
  Reader reader(value->bytes, name_);
  for (uint64_t i = 0; i < value->count; ++i) out.push_back(reader.string(key, kMaxString));
  return out;
}

std::vector<int32_t> Gguf::int32s(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (value->type != GgufType::kArray) wrong(key, "a list of integers");
  std::vector<int32_t> out;
  out.reserve(value->count);
  for (size_t i = 0; i < value->count; ++i) {
    const int64_t number = integer_at(*value, value->element, i, key);
    UM_CHECK(number == static_cast<int32_t>(number), "{}: {}: {} does not fit 32 bits", name_, key,
             number);
    out.push_back(static_cast<int32_t>(number));
  }
  return out;
}

std::vector<float> Gguf::floats(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (value->type != GgufType::kArray || value->element != GgufType::kFloat32) {
    wrong(key, "a list of 32-bit floats");
  }
  std::vector<float> out;
  out.reserve(value->count);
  for (size_t i = 0; i < value->count; ++i) out.push_back(load<float>(value->bytes, i));
  return out;
}

}  // namespace um
