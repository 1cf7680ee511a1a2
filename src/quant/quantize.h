// Quantising a checkpoint: layer by layer, from calibration text, into files of integers that other
// engines read too (models/pack_export.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "models/convert.h"
#include "models/layer_walk.h"
#include "quant/round_matrix.h"

namespace um {

struct QuantizeOptions {
  WeightTypes formats = kW4Rows;  ///< of stored matrices, by name
  RoundMethod method = RoundMethod::gptq;
  int64_t min_rows = 256;  ///< inputs below which a matrix is rounded without them
  uint64_t texts = 0;      ///< a hash of the calibration tokens
  /// What rounding a matrix is expected to cost (bits.h), where that is known.
  std::map<std::string, double> losses = {};
};

/// A matrix as it was quantised.
struct QuantizedMatrix {
  std::string name;
  int64_t layer = -1;
  RoundMethod method = RoundMethod::nearest;
  double bits = 0;  ///< per weight, with scales
  int64_t values = 0, inputs = 0;
  RoundErrors errors;
  std::string note;                 ///< why it is not as was asked
  std::optional<double> loss = {};  ///< expected, in nats of KL divergence a token
};

/// {"name", "layer", "method", "bits", "values", "inputs", "output_error" (null: unknown),
/// "weight_error", "note", "loss" (null: unknown)}
nlohmann::ordered_json to_json(const QuantizedMatrix& matrix);

/// How far a run is: layer `layer` of `layers`, and what is being done.
struct QuantizeStep {
  int64_t layer, layers;
  std::string_view what;
};

class Quantization {
 public:
  /// Throws Error if a quantisation cannot be written to the directory, whatever its settings.
  static void check_target(const std::filesystem::path& to);
  /// Plans the quantised copy `to` of the checkpoint `from`. Throws Error as Conversion does, for
  /// settings that contradict each other, for a finished model in `to`, and for an unfinished run
  /// of other settings there.
  Quantization(const std::filesystem::path& from, const std::filesystem::path& to,
               const QuantizeOptions& options, Device& device);

  const Conversion& conversion() const { return conversion_; }
  /// Layers that an earlier run, which was ended, has finished.
  int64_t finished_layers() const { return static_cast<int64_t>(finished_.size()); }
  /// What a run takes at most in memory, with so many tokens of calibration.
  int64_t memory_bytes(int64_t tokens) const;

  /// Writes the checkpoint, which can then be loaded. The batches are the calibration text; none
  /// where the method needs none. Throws Error; what is finished then stays, and the next run goes
  /// on from there to the same bytes.
  std::vector<QuantizedMatrix> run(std::vector<Batch> batches,
                                   const std::function<void(const QuantizeStep&)>& progress);
  /// Writes the digests of all files that are there, and forgets that anything was unfinished.
  void finish();

 private:
  struct Layer {
    std::vector<QuantizedMatrix> matrices;
    uint32_t crc = 0;  ///< of its file
  };
  /// The integers of matrices.
  using Codes = std::map<std::string, std::vector<RowCodes>>;

  void read_state();
  void write_state() const;
  void check_kept(int64_t group) const;
  nlohmann::json settings() const;
  int64_t group_of(const std::string& tensor) const;
  std::string shard(int64_t group) const;
  /// Returns the file's CRC-32.
  uint32_t write_shard(int64_t group, const Codes& codes) const;
  uint32_t crc_of_shard(int64_t group) const;
  QuantizedMatrix quantize_matrix(const std::string& name, const MatrixInputs* inputs,
                                  MatrixRounder& rounder, std::vector<RowCodes>& rows) const;
  Layer quantize_group(int64_t group, const std::vector<const Param*>& params,
                       const InputRecorder* inputs) const;
  Layer quantize_layer(int64_t layer, LayerWalk& walk,
                       const std::function<void(const QuantizeStep&)>& progress) const;
  void quantize_layers(std::vector<Batch> batches,
                       const std::function<void(const QuantizeStep&)>& progress);
  std::vector<TensorSpec> tensors_of(int64_t group) const;

  std::filesystem::path from_, to_;
  QuantizeOptions options_;
  Device& device_;
  Conversion conversion_;
  int64_t layers_ = 0;
  std::optional<DirectoryLock> lock_;  ///< of the directory that is written
  std::vector<Layer> finished_;        ///< layers
};

}  // namespace um
