// Models on disk: a directory in Hugging Face form (config.json and safetensors), or a GGUF file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/expert_files.h"
#include "models/model.h"
#include "models/weights.h"

namespace um {

/// Hears how far loading has come, on the thread that loads: bytes of the files that were read, of
/// all that will be.
using LoadProgress = std::function<void(uint64_t done, uint64_t all)>;

/// Loads a checkpoint directory or a .gguf file. Every tensor of the model must be there in a form
/// that checkpoints of its family have (model_weights.h). Throws Error naming file and tensor.
/// `warnings` receives tensors that the model does not use, and MTP heads that are not there.
/// Matrices are kept in `weights` (f32, or bf16 to run the model without training it; nothing:
/// `stored_weights`), everything else in f32. `expert_bytes`: memory for routed experts
/// (expert_files.h).
std::unique_ptr<Model> load_model(const std::filesystem::path& path, Device& device,
                                  std::vector<std::string>* warnings = nullptr,
                                  std::optional<WeightTypes> weights = DType::f32,
                                  int64_t expert_bytes = kAllExperts,
                                  const LoadProgress& progress = {});

/// bf16 if every matrix of the model is stored so or in fewer bits (blocks of integers lose far
/// more to begin with), else f32, which loses nothing.
WeightTypes stored_weights(const ModelConfig& config, const WeightSource& source);

/// Fills one parameter. Throws Error naming a tensor that is missing or of another shape.
void load_param(const Param& param, const WeightSource& source);

/// Fills a model's weights from an opened checkpoint.
void load_weights(Model& model, const WeightSource& source,
                  std::vector<std::string>* warnings = nullptr, const LoadProgress& progress = {});

/// Writes config.json and the weights (in the config's dtype), replacing what is there.
void save_model(const Model& model, const std::filesystem::path& directory,
                uint64_t max_shard_bytes = 0);

/// Which tensor of a parameter to write: its value, gradient or an optimizer state.
using ParamTensor = std::function<const Tensor&(const Param&)>;

/// The stored tensors of all parameters, or those that `wanted` takes (pieces apart), in `dtype`,
/// buffers in f32; their names begin with `prefix`.
std::vector<TensorSpec> checkpoint_specs(const ParamStore& params, DType dtype,
                                         const std::string& prefix = "",
                                         const std::function<bool(const Param&)>& wanted = {});
/// A source that yields those tensors from `pick(param)`.
TensorSource checkpoint_source(const ParamStore& params, ParamTensor pick,
                               const std::string& prefix = "");

/// Bytes of a model's weights in memory, MTP heads included, with matrices in `weights`.
int64_t weight_bytes(const ModelConfig& config, const WeightTypes& weights);

/// Which formats a model's matrices are kept in, with their shares of the values, and what products
/// of integers are computed with; empty where there are none.
std::string describe_weights(const Model& model);

/// The machine's memory.
int64_t memory_bytes();

/// Makes sure that the machine's memory can hold a model of this size, MTP heads included: throws
/// Error with the numbers otherwise. Activations come on top. `copies`: 1 to run it, 4 to train it
/// in f32 with AdamW (weights, gradients, two moments).
void check_fits_memory(const ModelConfig& config, const WeightTypes& weights, int64_t copies,
                       const std::string& what);

}  // namespace um
