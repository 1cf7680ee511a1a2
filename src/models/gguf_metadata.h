// The metadata of a GGUF file, made from a config.json: the inverse of gguf_config.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/gguf_write.h"
#include "models/weights.h"

namespace um {

/// The config with every field under the name that config_to_json gives it.
nlohmann::json canonical_config(const nlohmann::json& config, const WeightSource& source);

/// MTP layers of a canonical config.
int64_t mtp_layers(const nlohmann::json& config);

/// The GGUF architecture of a canonical config. Throws Error `WHERE: ...` for a family that has
/// none.
std::string gguf_architecture(const nlohmann::json& config, const std::string& where);

/// Everything but types and tokenizer. `raw`: the config.json as it was found, which files of our
/// own architectures carry.
std::vector<GgufEntry> gguf_metadata(const nlohmann::json& config, const nlohmann::json& raw,
                                     const std::string& architecture, const std::string& name);

/// Llama 3's rope scaling as the factor of each frequency (rope_freqs.weight); nothing for others.
std::optional<std::vector<float>> rope_factors(const nlohmann::json& config);

}  // namespace um
