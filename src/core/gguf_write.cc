// See gguf_write.h.
#include "core/gguf_write.h"

#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/json.h"
#include "core/write_tensor.h"

namespace um {
namespace {

constexpr uint64_t kAlignment = 32;
constexpr size_t kMaxTensorName = 63;

uint64_t padded(uint64_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

/// Everything before the tensors' data.
class Header {
 public:
  const std::string& bytes() const { return bytes_; }

  template <class T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void string(std::string_view text) {
    number<uint64_t>(text.size());
    bytes_ += text;
  }
  void type(GgufType type) { number(static_cast<uint32_t>(type)); }

  void value(uint32_t v) { scalar(GgufType::kUint32, v); }
  void value(int32_t v) { scalar(GgufType::kInt32, v); }
  void value(float v) { scalar(GgufType::kFloat32, v); }
  void value(bool v) { scalar(GgufType::kBool, static_cast<uint8_t>(v)); }
  void value(const std::string& v) {
    type(GgufType::kString);
    string(v);
  }
  void value(const std::vector<std::string>& v) {
    array(GgufType::kString, v.size());
    for (const std::string& text : v) string(text);
  }
  void value(const std::vector<float>& v) {
    array(GgufType::kFloat32, v.size());
    for (const float number_ : v) number(number_);
  }
  void value(const std::vector<int32_t>& v) {
    array(GgufType::kInt32, v.size());
    for (const int32_t number_ : v) number(number_);
  }

 private:
  template <class T>
  void scalar(GgufType kind, T v) {
    type(kind);
    number(v);
  }
  void array(GgufType element, size_t count) {
    type(GgufType::kArray);
    type(element);
    number<uint64_t>(count);
  }
  std::string bytes_;
};

std::string make_header(const std::vector<GgufEntry>& metadata,
                        const std::vector<GgufTensorSpec>& tensors, const std::string& where) {
  Header header;
  std::set<std::string_view> seen;
  for (const char c : {'G', 'G', 'U', 'F'}) header.number(c);
  header.number<uint32_t>(3);
  header.number<uint64_t>(tensors.size());
  header.number<uint64_t>(metadata.size());
  for (const GgufEntry& entry : metadata) {
    UM_CHECK(!entry.key.empty() && seen.insert(entry.key).second,
             "{}: metadata key {} is empty or given twice", where, quote(entry.key));
    header.string(entry.key);
    std::visit([&](const auto& value) { header.value(value); }, entry.value);
  }
  seen.clear();
  uint64_t offset = 0;
  for (const GgufTensorSpec& tensor : tensors) {
    UM_CHECK(!tensor.name.empty() && tensor.name.size() <= kMaxTensorName &&
                 seen.insert(tensor.name).second,
             "{}: tensor name {} is empty, longer than {} bytes or given twice", where,
             quote(tensor.name), kMaxTensorName);
    header.string(tensor.name);
    header.number(static_cast<uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent)
      header.number<int64_t>(*extent);
    header.number(static_cast<uint32_t>(tensor.type));
    header.number<uint64_t>(offset);
    offset += padded(tensor.byte_size());
  }
  return header.bytes();
}

}  // namespace

uint64_t GgufTensorSpec::byte_size() const {
  const BlockFormat& format = block_format(type);
  const auto row = static_cast<uint64_t>(shape.empty() ? 1 : shape.back());
  UM_CHECK(shape.size() <= 4 && row % format.elements == 0,
           "tensor {}: shape [{}] cannot be stored in blocks of {} ({})", quote(name),
           fmt::join(shape, ", "), format.elements, format.name);
  uint64_t blocks = row / format.elements;
  for (size_t d = 0; d + 1 < shape.size(); ++d) blocks *= static_cast<uint64_t>(shape[d]);
  return blocks * format.bytes;
}

void write_gguf(const std::filesystem::path& path, const std::vector<GgufEntry>& metadata,
                const std::vector<GgufTensorSpec>& tensors, const GgufSource& source) {
  const std::string header = make_header(metadata, tensors, path.string());
  AtomicFile file(path);
  file.write(header);
  const std::string zeros(kAlignment, '\0');
  const auto pad = [&] {
    file.write(std::string_view(zeros).substr(0, padded(file.size()) - file.size()));
  };
  pad();
  for (const GgufTensorSpec& tensor : tensors) {
    write_tensor(file, path.string(), tensor.name, tensor.byte_size(),
                 [&](const GgufSink& sink) { source(tensor, sink); });
    pad();
  }
  file.commit();
}

}  // namespace um
