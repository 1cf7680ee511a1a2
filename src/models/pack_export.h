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
#include "nn/module.h"

namespace um {

/// Whether a tensor is kept so: a matrix of whole groups that is no embedding, output head, router,
/// or matrix that is multiplied from both sides.
bool is_packed(const std::string& name, const StoredWeight& weight, const RowFormat& format);
/// NAME_packed, NAME_scale and NAME_shape of the matrix NAME.
std::array<TensorSpec, 3> packed_specs(const std::string& name, const StoredWeight& weight,
                                       const RowFormat& format);
/// Throws Error, which begins with `where`, for a scale that is not finite: of values that are no
/// numbers, or too large for the format.
void check_scales(const std::vector<RowCodes>& rows, const std::string& where);
/// Writes the contents of those: the weight's own integers where it has them in this format, else
/// the nearest (round_row). Integers come before scales, as safetensors files have them: the scales
/// are kept until they are asked for, so that each matrix is rounded once. Throws Error as
/// check_scales does.
class PackWriter {
 public:
  void write(const std::string& name, const StoredWeight& weight, const RowFormat& format,
             const TensorSpec& part, const TensorSink& sink);

 private:
  void write_codes(const std::string& name, const StoredWeight& weight, const RowFormat& format,
                   const TensorSpec& part, const TensorSink& sink);

  std::map<std::string, std::vector<uint16_t>> scales_;  ///< of matrices whose integers are written
};
/// What config.json says of it as `quantization_config`: one group for all matrices, and one with
/// the names of those in each other format. `ignored`: modules that are not packed.
nlohmann::json packed_config(const WeightTypes& formats, const std::vector<std::string>& ignored);

}  // namespace um
