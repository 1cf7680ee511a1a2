// Fuzzes what describes a quantised checkpoint: quant_model_description.json, the
// quantization_config of config.json (compressed-tensors, fp8), and the tensors themselves, each
// beside valid ones. It is refused with Error, or every row of every tensor can be read.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "models/weights.h"

namespace {

namespace fs = std::filesystem;

constexpr std::array kFiles{"slim/quant_model_description.json", "groups/config.json",
                            "groups/model.safetensors", "slim/model.safetensors",
                            "blocks/config.json"};

/// A directory for each method with its schemes of matrices, removed at the end.
struct Checkpoint {
  Checkpoint() {
    std::vector<um::TensorView> tensors;
    const auto save = [&](const char* folder) {
      fs::create_directories(path / folder);
      um::write_safetensors(path / folder / "model.safetensors", tensors);
      tensors.clear();
    };
    const auto add = [&](const char* name, um::DType dtype, std::vector<int64_t> shape,
                         std::span<const int32_t> values) {
      um::TensorView tensor;
      tensor.name = name;
      tensor.dtype = dtype;
      tensor.shape = std::move(shape);
      tensor.bytes = std::as_bytes(values).first(tensor.byte_size());
      tensors.push_back(tensor);
    };
    const std::vector<int32_t> zeros(64), extents = {4, 16},
                                          order = {0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0};
    add("a.weight", um::DType::f8_e4m3, {5, 6}, zeros);
    add("a.weight_scale_inv", um::DType::f32, {3, 3}, zeros);
    save("blocks");
    add("b.weight", um::DType::i8, {4, 6}, zeros);
    add("b.weight_scale", um::DType::f32, {4, 1}, zeros);
    add("b.weight_offset", um::DType::f32, {4, 1}, zeros);
    add("b.quant_bias", um::DType::i32, {4}, zeros);
    add("b.deq_scale", um::DType::f32, {4}, zeros);
    add("b.input_offset", um::DType::i8, {1}, zeros);
    save("slim");
    add("c.weight_packed", um::DType::i32, {4, 2}, zeros);
    add("c.weight_shape", um::DType::i32, {2}, extents);
    add("c.weight_scale", um::DType::bf16, {4, 2}, zeros);
    add("c.weight_zero_point", um::DType::i32, {1, 2}, zeros);
    add("c.weight_g_idx", um::DType::i32, {16}, order);
    add("d.weight", um::DType::f8_e4m3, {5, 6}, zeros);
    add("d.weight_scale", um::DType::f32, {3, 3}, zeros);
    save("groups");
    texts[0] = R"({"b.weight":"W8A8","b.weight_scale":"W8A8","version":"1","c.weight":"FLOAT"})";
    texts[1] =
        R"({"quantization_config":{"quant_method":"compressed-tensors","config_groups":{)"
        R"("g":{"targets":["re:c"],"weights":{"num_bits":4,"strategy":"group","group_size":8,)"
        R"("symmetric":false,"actorder":"group"}},"h":{"targets":["Linear"],"weights":{)"
        R"("type":"float","strategy":"block","block_structure":[2,2]}}},"ignore":["e","re:.*f"]}})";
    texts[2] = um::read_file(path / kFiles[2]);
    texts[3] = um::read_file(path / kFiles[3]);
    texts[4] =
        R"({"quantization_config":{"quant_method":"fp8","fmt":"e4m3","weight_block_size":[2,2]}})";
    for (size_t file = 0; file < kFiles.size(); ++file) {
      open[file] = ::open((path / kFiles[file]).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      write(file, texts[file]);
    }
    for (size_t file = 0; file < kFiles.size(); ++file) read(file);
  }
  ~Checkpoint() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }

  /// In place, so that no input waits for the disk.
  void write(size_t file, std::string_view text) const {
    const auto size = static_cast<ssize_t>(text.size());
    if (::pwrite(open[file], text.data(), text.size(), 0) != size ||
        ::ftruncate(open[file], size) != 0)
      std::abort();
  }
  /// The checkpoint that a file is of.
  void read(size_t file) const {
    constexpr int64_t kMost = 1 << 16;
    const um::WeightSource source = um::open_weights((path / kFiles[file]).parent_path());
    for (const auto& [name, weight] : source.tensors()) {
      const int64_t columns = weight.columns(), rows = weight.rows();
      if (!weight.read || columns > kMost || rows <= 0) continue;
      std::vector<float> row(static_cast<size_t>(columns));
      for (int64_t r = 0; r < rows && r * columns < kMost; ++r) weight.read(r, 1, row.data());
      weight.read(rows - 1, 1, row.data());
    }
  }

  std::array<std::string, kFiles.size()> texts;
  std::array<int, kFiles.size()> open{};
  const fs::path path =
      fs::temp_directory_path() / ("um_quantized_fuzz_" + std::to_string(::getpid()));
};

const Checkpoint& checkpoint() {
  static const Checkpoint one;
  return one;
}

}  // namespace

/// The first byte says which file it is.
std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (size_t file = 0; file < kFiles.size(); ++file)
    seeds.push_back(std::to_string(file) + checkpoint().texts[file]);
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t file = data[0] % kFiles.size();
  checkpoint().write(file, std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  try {
    checkpoint().read(file);
  } catch (const um::Error&) {
  }
  checkpoint().write(file, checkpoint().texts[file]);
  return 0;
}
