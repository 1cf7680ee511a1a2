// Checkpoints of published sizes that take no space: names and shapes, and a hole for the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace um {

struct HollowTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool f32 = false;  ///< else BF16
  int64_t elements() const;
};

/// The tensors that a list of tests/models/published names.
std::vector<HollowTensor> published_tensors(const std::filesystem::path& list);

/// A safetensors file of these tensors whose data takes no space on the disk.
void write_hollow(const std::filesystem::path& path, const std::vector<HollowTensor>& tensors);

}  // namespace um
