// What a quantisation did, for people and programs: OUT/quantization.html and .json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quant/quantize.h"

namespace um {

struct QuantizeReport {
  std::string name;    ///< of the model
  std::string scheme;  ///< "w4a8", "auto"
  QuantizeOptions options;
  int64_t calibration_tokens = 0;
  uint64_t source_bytes = 0, bytes = 0;  ///< of the tensors, before and after
  int64_t values = 0;                    ///< in them
  std::vector<std::string> kept;         ///< matrices that are not quantised
  double seconds = 0;                    ///< of this run
  std::vector<QuantizedMatrix> matrices;
  nlohmann::ordered_json quality;  ///< the copy beside the original; null: not measured
  std::string quality_note;        ///< why not

  /// Bits per weight of all tensors.
  double whole_bits() const {
    return values > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(values) : 0;
  }
};

/// Bits per weight of the quantised matrices, with scales.
double mean_bits(const std::vector<QuantizedMatrix>& matrices);
nlohmann::ordered_json to_json(const QuantizeReport& report);
/// Writes both files into the directory. Throws Error.
void write_report(const QuantizeReport& report, const std::filesystem::path& directory);

}  // namespace um
