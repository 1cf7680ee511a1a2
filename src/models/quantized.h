// Quantised Hugging Face checkpoints, converted as they are read: FP8 in blocks, compressed-tensors
// int8, int4 and FP8, Ascend ModelSlim W8A8. Facts: docs/formats.md.
#pragma once

#include <filesystem>

#include "core/safetensors.h"
#include "models/weights.h"

namespace um {

/// Adds the tensors of a checkpoint to `source`; a quantised one appears as one weight of its
/// original name and shape, without its scales. `path` is the checkpoint. Throws Error naming the
/// tensor if scales are missing, of the wrong shape or of a scheme that is not known.
void add_safetensors_weights(const CheckpointReader& reader, const std::filesystem::path& path,
                             WeightSource& source);

}  // namespace um
