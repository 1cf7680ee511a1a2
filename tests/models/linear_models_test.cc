// What is made of a model's files: the time is linear in them, and so is the memory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf_write.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "models/gguf_model.h"
#include "models/weights.h"
#include "tests/core/linear_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// A directory or file that is removed at the end.
class Place {
 public:
  explicit Place(const std::string& name)
      : path_(fs::temp_directory_path() / fmt::format("um_linear_{}_{}", ::getpid(), name)) {}
  Place(const Place&) = delete;
  ~Place() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Opens what `write` wrote for a size.
template <class Write, class Open>
void expect_linear_files(size_t size, const std::string& name, Write write, Open open) {
  std::vector<std::unique_ptr<Place>> places;
  expect_linear(
      size,
      [&](size_t count) {
        places.push_back(std::make_unique<Place>(fmt::format("{}{}", count, name)));
        write(count, places.back()->path());
        return places.back()->path();
      },
      open);
}

TensorSource zeros() {
  return [](const TensorSpec& spec, const TensorSink& sink) {
    sink(std::vector<std::byte>(spec.byte_size()));
  };
}

TEST(LinearModels, IndexesOfShards) {
  expect_linear_files(
      1500, "",
      [](size_t count, const fs::path& directory) {
        std::vector<TensorSpec> tensors;
        for (size_t i = 0; i < count; ++i)
          tensors.push_back({fmt::format("t.{}.weight", i), DType::f32, {1}});
        write_checkpoint(directory, tensors, zeros(), 2 * count);  // in two files
      },
      [](const fs::path& directory) { open_weights(directory); });
}

TEST(LinearModels, QuantisedModules) {
  expect_linear_files(
      600, "",
      [](size_t count, const fs::path& directory) {
        std::vector<TensorSpec> tensors;
        for (size_t i = 0; i < count; ++i) {
          tensors.push_back({fmt::format("m.{}.weight", i), DType::i8, {2, 2}});
          tensors.push_back({fmt::format("m.{}.weight_scale", i), DType::f32, {2, 1}});
        }
        write_checkpoint(directory, tensors, zeros(), 0);
      },
      [](const fs::path& directory) { open_weights(directory); });
}

std::vector<GgufTensorSpec> layers(size_t count) {
  std::vector<GgufTensorSpec> tensors;
  for (size_t i = 0; i < count; ++i)
    tensors.push_back({fmt::format("blk.{}.attn_norm.weight", i), {8}});
  return tensors;
}

TEST(LinearModels, GgufTensors) {
  expect_linear_files(
      2000, ".gguf",
      [](size_t count, const fs::path& file) {
        write_gguf(file, {{"general.architecture", std::string("llama")}}, layers(count),
                   [](const GgufTensorSpec& spec, const GgufSink& sink) {
                     sink(std::vector<std::byte>(spec.byte_size()));
                   });
      },
      [](const fs::path& file) { open_weights(file); });
}

/// Experts are counted by their bytes; tensors on each other would let few bytes be many experts.
TEST(LinearModels, GgufTensorsLieApart) {
  const Place place("apart.gguf");
  write_gguf(place.path(), {{"general.architecture", std::string("llama")}}, layers(2),
             [](const GgufTensorSpec& spec, const GgufSink& sink) {
               sink(std::vector<std::byte>(spec.byte_size()));
             });
  open_weights(place.path());
  std::string bytes = read_file(place.path());
  const std::string second = "blk.1.attn_norm.weight";
  // Behind the name: rank, one extent, type, offset.
  const size_t offset = bytes.find(second) + second.size() + 4 + 8 + 4;
  ASSERT_EQ(bytes[offset], 32);
  bytes[offset] = 0;
  write_file_atomic(place.path(), bytes);
  try {
    open_weights(place.path());
    ADD_FAILURE() << "tensors on each other were taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("lie on each other"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace um
