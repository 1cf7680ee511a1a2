// Fuzzes the index of a sharded checkpoint (model.safetensors.index.json), beside two valid shards:
// it is refused with Error, or every tensor it maps can be read.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"

namespace {

namespace fs = std::filesystem;

/// A directory with the shards, removed at the end.
struct Checkpoint {
  Checkpoint() {
    fs::create_directories(path);
    for (const char* name : {"a", "b"}) {
      um::TensorView tensor;
      tensor.name = name;
      tensor.shape = {2};
      tensor.bytes = std::as_bytes(std::span(values));
      um::write_safetensors(path / (std::string(name) + ".safetensors"), {tensor});
    }
  }
  ~Checkpoint() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }

  const std::vector<float> values = {1, 2};
  const fs::path path = fs::temp_directory_path() / ("um_index_fuzz_" + std::to_string(::getpid()));
};

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"metadata":{"total_size":16},"weight_map":{"a":"a.safetensors",)"
          R"("b":"b.safetensors"}})",
          R"({"weight_map":{"b":"b.safetensors"}})", R"({"weight_map":{}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Checkpoint checkpoint;
  // One open file, so that no input waits for the disk.
  static const int index = ::open((checkpoint.path / "model.safetensors.index.json").c_str(),
                                  O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (::pwrite(index, data, size, 0) != static_cast<ssize_t>(size) ||
      ::ftruncate(index, static_cast<off_t>(size)) != 0)
    std::abort();
  try {
    const um::CheckpointReader reader(checkpoint.path);
    for (const auto& [name, tensor] : reader.tensors())
      if (tensor->name != name || tensor->bytes.size() != 8) std::abort();
    if (reader.total_bytes() > 16) std::abort();
  } catch (const um::Error&) {
  }
  return 0;
}
