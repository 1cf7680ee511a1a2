// A model in the layout of memory: one file holds every parameter as kernels take it, is mapped and
// used in place. Such a model starts at once, and processes that run it share its memory. Only this
// program reads it; it is made from any checkpoint (`ultramoe convert --mapped`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/checkpoint.h"

namespace um {

/// The file's name in a model's directory. A safetensors file in which each tensor is bytes: a part
/// of a parameter's Rows ("lm_head.weight/scales"), padded to whole lines of 64.
inline constexpr const char* kMappedFile = "mapped.safetensors";

bool is_mapped(const std::filesystem::path& directory);

/// Writes the file into `directory`, with one parameter in memory at a time. `config` and `source`
/// are those of open_model_weights(). Throws Error as load_weights() does.
void write_mapped(const ModelConfig& config, const WeightTypes& weights, const WeightSource& source,
                  const std::filesystem::path& directory, const LoadProgress& progress = {});

/// The model of a directory that has the file. Its pages are read when they are first used, so
/// nothing is known of its values beforehand. Throws Error where the file is not this program's or
/// does not fit config.json. `weights`: must be nothing or what is there.
std::unique_ptr<Model> map_model(const std::filesystem::path& directory, Device& device,
                                 const std::optional<WeightTypes>& weights,
                                 std::vector<std::string>* warnings);

}  // namespace um
