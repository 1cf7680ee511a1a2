// Matrices in integers, in the forms that other engines read. Facts: docs/formats.md.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/weights.h"
#include "nn/module.h"

namespace um {

enum class IntegerForm {
  packed,    ///< compressed-tensors' pack-quantized: a row in 32-bit words, scales by groups
  int8,      ///< compressed-tensors' int-quantized: I8, a scale for each row
  modelslim  ///< Ascend ModelSlim's W8A8_DYNAMIC: the same with offsets of zero
};
inline constexpr RowFormat kChannelRows{RowType::panel8, kWholeRow};  ///< of the last two

/// What matrices are written as; formats by the names that they are stored under.
struct IntegerFiles {
  WeightTypes formats;
  IntegerForm form = IntegerForm::packed;

  IntegerFiles(WeightTypes formats, IntegerForm form = IntegerForm::packed)
      : formats(std::move(formats)), form(form) {}
  IntegerFiles(RowFormat format) : formats(format) {}
  IntegerFiles(IntegerForm form)
      : formats(form == IntegerForm::packed ? kW4Rows : kChannelRows), form(form) {}
};

/// Whether a tensor is kept so: a matrix of whole groups that is no embedding, output head, router,
/// or matrix that is multiplied from both sides.
bool is_packed(const std::string& name, const StoredWeight& weight, const RowFormat& format);
/// The tensors that the matrix NAME becomes: NAME_packed, NAME_scale and NAME_shape; or NAME and
/// NAME_scale, of ModelSlim NAME_offset beside them.
std::vector<TensorSpec> packed_specs(const std::string& name, const StoredWeight& weight,
                                     const RowFormat& format, IntegerForm form);
/// Throws Error, which begins with `where`, for a scale that is not finite: of values that are no
/// numbers, or too large for f16 where the format has such.
void check_scales(const std::vector<RowCodes>& rows, const RowFormat& format,
                  const std::string& where);
/// Writes the contents of those: the weight's own integers where it has them in this format, else
/// the nearest (round_row). Integers in words come before scales, as safetensors files have them:
/// the scales are kept until they are asked for, so that each matrix is rounded once. I8 comes
/// behind its scales and is rounded twice. Throws Error as check_scales does.
class PackWriter {
 public:
  void write(const std::string& name, const StoredWeight& weight, const RowFormat& format,
             const TensorSpec& part, const TensorSink& sink);

 private:
  void write_scales(const std::string& name, const StoredWeight& weight, const RowFormat& format,
                    const TensorSpec& part, const TensorSink& sink);
  void write_codes(const std::string& name, const StoredWeight& weight, const RowFormat& format,
                   const TensorSpec& part, const TensorSink& sink);

  std::map<std::string, std::vector<float>> scales_;  ///< of matrices whose integers are written
};
/// What config.json says of compressed-tensors' forms as `quantization_config`: one group for all
/// matrices, and one with the names of those in each other format. `ignored`: modules that are not
/// packed.
nlohmann::json packed_config(const IntegerFiles& files, const std::vector<std::string>& ignored);

}  // namespace um
