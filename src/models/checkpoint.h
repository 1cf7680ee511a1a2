// Models on disk: a directory in Hugging Face form (config.json and safetensors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/model.h"

namespace um {

/// Loads a checkpoint directory (or a preset that has weights). Every tensor of the model must be
/// there with the published name and shape; all are converted to f32. Throws Error naming file and
/// tensor. `warnings` receives tensors that the model does not use.
std::unique_ptr<Model> load_model(const std::filesystem::path& directory, Device& device,
                                  std::vector<std::string>* warnings = nullptr);

/// Fills a model's weights from an opened checkpoint.
void load_weights(Model& model, const CheckpointReader& reader,
                  std::vector<std::string>* warnings = nullptr);

/// Writes config.json and the weights (in the config's dtype), replacing what is there.
void save_model(const Model& model, const std::filesystem::path& directory,
                uint64_t max_shard_bytes = 0);

/// Which tensor of a parameter to write: its value, gradient or an optimizer state.
using ParamTensor = std::function<const Tensor&(const Param&)>;

/// The stored tensors of all parameters (pieces apart) in `dtype`, buffers in f32; their names
/// begin with `prefix`.
std::vector<TensorSpec> checkpoint_specs(const ParamStore& params, DType dtype,
                                         const std::string& prefix = "");
/// A source that yields those tensors from `pick(param)`.
TensorSource checkpoint_source(const ParamStore& params, ParamTensor pick,
                               const std::string& prefix = "");

/// Makes sure that the machine's memory can hold a model of this size, MTP heads included: throws
/// Error with the numbers otherwise. Activations come on top. `bytes_per_param`: 4 to run it in
/// f32, 16 to train it with AdamW.
void check_fits_memory(const ModelConfig& config, int64_t bytes_per_param, const std::string& what);

}  // namespace um
