// A Hugging Face checkpoint as a GGUF file: which architecture, metadata and tensors. The inverse
// of gguf_model.h.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/gguf_write.h"
#include "models/weights.h"

namespace um {

/// A tensor of the file to write and where its values come from.
struct GgufOutput {
  GgufTensorSpec spec;
  StoredWeight weight;
};

struct GgufPlan {
  std::string architecture;
  std::vector<GgufEntry> metadata;  ///< without the tokenizer's
  std::vector<GgufOutput> tensors;  ///< in file order; types are set by `choose_types`
  std::vector<std::string> lost;    ///< names of tensors that the file will not have
};

/// `config`: the checkpoint's config.json. Throws Error for a family or rope scaling that GGUF has
/// no name for, and if a tensor that the model needs has none.
GgufPlan plan_gguf(const nlohmann::json& config, const WeightSource& source,
                   const std::string& name);

/// Sets every tensor's type. Vectors, routers and what goes with them are F32, as llama.cpp wants
/// them. Matrices: `type`, or without one as they are stored (quantised ones in BF16). Where rows
/// are no whole blocks the next type that fits; the embedding and the output head are not packed
/// below 8 bits.
void choose_types(GgufPlan& plan, std::optional<BlockType> type);

/// Passes a tensor's values in its type to the sink.
void write_values(const GgufOutput& output, const GgufSink& sink);

}  // namespace um
