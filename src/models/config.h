// Reading a ModelConfig from a Hugging Face config.json (every published spelling), strict
// validation, writing, and the search for presets. docs/models.md has the fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nn/config.h"

namespace um {

/// The name in `architectures`: "PanguUltraMoEForCausalLM".
std::string_view architecture_name(Family family);

/// Resolves and validates a config. `where` starts every error. Throws Error for an unknown
/// architecture, missing, absurd or contradictory values, and for what we cannot run (sliding
/// windows, other rope scalings, quantised weights).
ModelConfig load_config(const nlohmann::json& json, const std::string& where);

/// Reads a config.json, that of a model directory, or the metadata of a .gguf file.
ModelConfig read_config(const std::filesystem::path& path);

/// Checks ranges, divisibility and total size of a resolved config, also of one made by hand.
void validate(const ModelConfig& config, const std::string& where);

/// The published names and fields (DeepSeek spelling for Ultra MoE) and ours: `dssn_c_attn`,
/// `dssn_c_mlp`, `init_rule`, `embedding_init_std`, `num_expert_groups`. load_config reads it back
/// as the same config.
nlohmann::json config_to_json(const ModelConfig& config);

/// The text of a config.json, and what errors call it.
struct ConfigText {
  std::string text;
  std::string where;
};

/// The config.json of a model directory, of a .gguf file (made from its metadata) or of a preset:
/// one of $UM_CONFIGS, else one that is built into the program (configs/ of the sources). Throws
/// Error naming the nearest preset.
ConfigText find_config(const std::string& name_or_directory);

/// The same, read.
ModelConfig read_named_config(const std::string& name_or_directory);

/// A directory with a model's files or a .gguf file: as it is given, or of $UM_CONFIGS. Throws
/// Error for the name of a preset that is built in: it has no weights.
std::filesystem::path find_model(const std::string& name_or_directory);

/// Names of all presets, sorted.
std::vector<std::string> preset_names();

}  // namespace um
