// Matrices in compressed-tensors' form pack-quantized, as other engines read them: the integers of
// a row in 32-bit words, scales by groups. Facts: interop.md 1.11.
#pragma once

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/weights.h"

namespace um {

/// Whether a tensor is kept so: a matrix of whole groups that is no embedding, output head, router,
/// or matrix that is multiplied from both sides.
bool is_packed(const std::string& name, const StoredWeight& weight, const RowFormat& format);
/// NAME_packed, NAME_scale and NAME_shape of the matrix NAME.
std::array<TensorSpec, 3> packed_specs(const std::string& name, const StoredWeight& weight,
                                       const RowFormat& format);
/// Writes the contents of those: the weight's own integers where it has them in this format, else
/// the nearest (round_row). Integers come before scales, as safetensors files have them: the scales
/// are kept until they are asked for, so that each matrix is rounded once.
class PackWriter {
 public:
  void write(const std::string& name, const StoredWeight& weight, const RowFormat& format,
             const TensorSpec& part, const TensorSink& sink);

 private:
  void write_codes(const std::string& name, const StoredWeight& weight, const RowFormat& format,
                   const TensorSpec& part, const TensorSink& sink);

  std::map<std::string, std::vector<uint16_t>> scales_;  ///< of matrices whose integers are written
};
/// What config.json says of it as `quantization_config`; `ignored`: matrices that are not packed.
nlohmann::json packed_config(const RowFormat& format, const std::vector<std::string>& ignored);

}  // namespace um
