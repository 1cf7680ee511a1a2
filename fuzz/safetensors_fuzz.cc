// Fuzzes the safetensors header parser: it either refuses with Error or yields views inside the
// input.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/safetensors.h"

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (
      std::string header :
      {R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})",
       R"({"a":{"dtype":"BF16","shape":[],"data_offsets":[6,8]},)"
       R"("b":{"dtype":"U8","shape":[3,2],"data_offsets":[0,6]}}  )",
       "{}"}) {
    const uint64_t length = header.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    seeds.push_back(file + header + std::string(header.size() > 2 ? 8 : 0, 'x'));
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    uint64_t total = 0;
    for (const um::TensorView& tensor : um::parse_safetensors(bytes, "fuzz").tensors) {
      if (tensor.bytes.size() != tensor.byte_size()) std::abort();
      for (const std::byte b : tensor.bytes) total += static_cast<uint64_t>(b);  // reads them all
    }
    if (total > size * 255) std::abort();  // more than the input can hold
  } catch (const um::Error&) {
  }
  return 0;
}
