// Architecture: what the program knows of one published kind of model. One file each defines it;
// registry.cc lists them.
#pragma once

#include <span>
#include <string_view>

#include "core/json.h"
#include "models/model.h"

namespace um {

/// A row of the registry.
struct Architecture {
  Family family;
  std::string_view name;        ///< in `architectures`
  std::string_view model_type;  ///< in `model_type`; may be shared by several
  /// Resolves a config.json of this architecture (models/config_fields.h has the parts). Throws
  /// Error `WHERE: field ...`.
  ModelConfig (*read)(const JsonObject& config);
  /// Adds to the fields that every family has those which `read` needs.
  void (*write)(const ModelConfig& config, Json& out);
  /// Adds the layers to a model that has nothing but embedding, head and final norm.
  void (*build)(Model& model);
};

/// All of them, in the order of Family.
std::span<const Architecture* const> architectures();
const Architecture& architecture(Family family);

// One per file.
extern const Architecture kPanguUltraMoe, kPanguProMoe, kPanguEmbedded;
extern const Architecture kLlama, kQwen2, kQwen3, kQwen3Moe, kDeepseekV2, kDeepseekV3;
extern const Architecture kPanguProMoeV2, kOpenpanguV2;

}  // namespace um
