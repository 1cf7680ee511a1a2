// A checkpoint's weights as its model asks for them. Checkpoints of one family differ: some call a
// tensor otherwise, cut it otherwise, or leave the draft layers out.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config.h"
#include "models/weights.h"

namespace um {

/// Opens the weights of a checkpoint that `config` describes, under the names that the family's own
/// checkpoints have. `config` follows what is there: without an output head the embedding serves as
/// one, and MTP heads behind the last one with a tensor are left out, of which `warnings` hears.
/// Throws Error naming file and tensor.
WeightSource open_model_weights(const std::filesystem::path& path, ModelConfig& config,
                                std::vector<std::string>* warnings = nullptr);

/// Tensors that published checkpoints carry and nobody needs: rotary tables, the MTP heads' copies
/// of the trunk's embedding and head, a head beside tied embeddings.
bool is_redundant(std::string_view name, const ModelConfig& config);
/// The tensor that such a one is a copy of; nothing where it is none (`inv_freq`).
std::optional<std::string> copied_tensor(std::string_view name, const ModelConfig& config);

}  // namespace um
