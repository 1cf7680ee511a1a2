// Writing: a header made from the specs, then the bytes streamed in file order; see safetensors.h.
#include <algorithm>
#include <set>
#include <tuple>

#include "core/error.h"
#include "core/json.h"
#include "core/output_file.h"
#include "core/safetensors.h"
#include "core/write_tensor.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// Sorts into file order: wide types first, so that every tensor is aligned for its type.
void sort_for_file(std::vector<TensorSpec>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return std::make_tuple(-dtype_bits(a.dtype), std::string_view(a.name)) <
           std::make_tuple(-dtype_bits(b.dtype), std::string_view(b.name));
  });
}

std::string make_header(const std::vector<TensorSpec>& tensors,
                        const std::map<std::string, std::string>& metadata,
                        const std::string& where, size_t alignment) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    UM_CHECK(tensor.name != "__metadata__" && !header.contains(tensor.name),
             "{}: tensor name {} is reserved or given twice", where, quote(tensor.name));
    const uint64_t end = offset + tensor.byte_size();
    header[tensor.name] = {{"dtype", dtype_file_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = to_text(header);
  const size_t begin = sizeof(uint64_t) + text.size();
  text.append((alignment - begin % alignment) % alignment, ' ');
  return text;
}

/// Consecutive tensors per shard; one that is larger than the limit gets a shard of its own.
std::vector<std::vector<TensorSpec>> split(const std::vector<TensorSpec>& tensors,
                                           uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t used = 0;
  for (const TensorSpec& tensor : tensors) {
    const uint64_t size = tensor.byte_size();
    if (max_shard_bytes != 0 && !shards.back().empty() && used + size > max_shard_bytes) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(tensor);
    used += size;
  }
  return shards;
}

}  // namespace

void write_safetensors(const fs::path& path, std::vector<TensorSpec> tensors,
                       const TensorSource& source,
                       const std::map<std::string, std::string>& metadata, size_t alignment) {
  sort_for_file(tensors);
  const std::string header = make_header(tensors, metadata, path.string(), alignment);
  const uint64_t length = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const TensorSpec& tensor : tensors) {
    write_tensor(file, path.string(), tensor.name, tensor.byte_size(),
                 [&](const TensorSink& sink) { source(tensor, sink); });
  }
  file.commit();
}

void write_safetensors(const fs::path& path, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string_view, const TensorView*> by_name;
  for (const TensorView& tensor : tensors) by_name[tensor.name] = &tensor;
  write_safetensors(
      path, std::vector<TensorSpec>(tensors.begin(), tensors.end()),
      [&](const TensorSpec& spec, const TensorSink& sink) { sink(by_name.at(spec.name)->bytes); },
      metadata);
}

std::string shard_name(size_t index, size_t count) {
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

void write_shard_index(const fs::path& directory,
                       const std::map<std::string, std::string>& shard_of, uint64_t bytes) {
  const Json index{{"metadata", {{"total_size", bytes}}}, {"weight_map", shard_of}};
  write_file_atomic(directory / kIndexFile, to_text(index, 2) + "\n");
  remove_output_file(directory / kSingleFile);
}

void write_checkpoint(const fs::path& directory, const std::vector<TensorSpec>& tensors,
                      const TensorSource& source, uint64_t max_shard_bytes) {
  make_directories(directory);
  remove_output_file(directory / kIndexFile);
  const auto shards = split(tensors, max_shard_bytes);
  if (shards.size() == 1) return write_safetensors(directory / kSingleFile, tensors, source);

  std::map<std::string, std::string> shard_of;
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    for (const TensorSpec& tensor : shards[i]) {
      UM_CHECK(shard_of.emplace(tensor.name, name).second, "{}: tensor {} is given twice",
               directory.string(), quote(tensor.name));
      total += tensor.byte_size();
    }
    write_safetensors(directory / name, shards[i], source);
  }
  write_shard_index(directory, shard_of, total);
}

}  // namespace um
