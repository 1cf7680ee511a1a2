// From one file format to another: any checkpoint that can be loaded as Hugging Face safetensors or
// as GGUF. A plan says what will be written before anything is.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/block_types.h"
#include "models/gguf_export.h"
#include "models/model_texts.h"
#include "models/pack_export.h"
#include "models/weights.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace um {

/// One kind of conversion: "Q4_1" to "BF16".
struct ConvertStep {
  size_t tensors = 0;
  uint64_t bytes = 0;  ///< in the new files
  bool exact = true;   ///< no value changes
};

/// What a model is called after its path: the directory's name, a file's without its end.
std::string model_name(const std::filesystem::path& path);
/// A weight's values in `dtype`, some rows at a time, read by all threads.
void write_weight(const StoredWeight& weight, DType dtype, const TensorSink& sink);

class Conversion {
 public:
  /// Hears of every tensor that is done: bytes of all.
  using Progress = std::function<void(uint64_t, uint64_t)>;

  /// Opens `from` (a directory or a .gguf file) and plans files of type `type` (nothing: as stored)
  /// at `to`: GGUF if it ends in .gguf, else a directory, whose matrices may be `packed` integers
  /// (pack_export.h). Throws Error if it cannot be done.
  Conversion(const std::filesystem::path& from, const std::filesystem::path& to,
             std::optional<BlockType> type, std::optional<IntegerFiles> packed = {});

  bool to_gguf() const { return to_gguf_; }
  const WeightSource& source() const { return source_; }
  /// The model, as far as its weights are there.
  const ModelConfig& config() const { return stored_; }
  /// By the types on both sides.
  const std::map<std::pair<std::string, std::string>, ConvertStep>& steps() const { return steps_; }
  uint64_t bytes() const;
  /// What the new files will not have: tensors by name, and other things in words.
  const std::vector<std::string>& lost_tensors() const { return lost_; }
  const std::vector<std::string>& notes() const { return notes_; }

  /// The tensors of a directory, by name, and the matrix that one is a part of in packed form
  /// (null: none). For who writes the tensors of a directory in an order of its own: what they
  /// hold, and the files beside them.
  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  const std::string* packed_matrix(const std::string& part) const;
  /// Matrices that stay as they are where others are packed; elements of all tensors; whether the
  /// source has integers.
  const std::vector<std::string>& unpacked() const { return unpacked_; }
  /// Whether a matrix is packed, and its format if it is.
  bool packs(const std::string& matrix) const { return packed_parts_.contains(matrix + "_scale"); }
  RowFormat packed_format(const std::string& matrix) const { return packed_->formats.of(matrix); }
  int64_t values() const;
  bool from_integers() const;
  void write_plain(const TensorSpec& tensor, const TensorSink& sink) const;
  void write_texts() const;

  /// Writes the files; a directory in shards of at most `shard_bytes` (0: one file).
  void write(uint64_t shard_bytes, const Progress& progress) const;
  /// Writes a directory whose weights are kept in `weights`, in the layout of memory (mapped.h).
  void write_mapped(const WeightTypes& weights, const Progress& progress) const;

 private:
  void check_target() const;
  void complete_ids();
  nlohmann::json description() const;
  void plan_gguf_file(std::optional<BlockType> type);
  void plan_directory(std::optional<BlockType> type);
  void plan_packed(const std::string& name, const StoredWeight& weight);
  void count(const StoredWeight& weight, std::string_view format, uint64_t bytes, bool exact);
  std::vector<int32_t> ends_for_others() const;
  std::vector<int32_t> stated_ends(const Tokenizer& tokenizer) const;
  Vocabulary vocabulary_for(const Tokenizer& tokenizer, int64_t rows) const;
  void write_gguf_file(const std::function<void(uint64_t)>& done) const;
  void write_directory(uint64_t shard_bytes, const std::function<void(uint64_t)>& done) const;

  std::filesystem::path from_, to_;
  bool to_gguf_ = false;
  nlohmann::json config_;
  ModelConfig stored_;  ///< as the weights have it: MTP heads that are not there are left out
  WeightSource source_;
  GgufPlan gguf_;
  std::optional<IntegerFiles> packed_;
  std::vector<TensorSpec> tensors_;                  // of a directory
  std::map<std::string, std::string> packed_parts_;  // a part's name to its matrix
  std::vector<std::string> unpacked_;
  std::map<std::pair<std::string, std::string>, ConvertStep> steps_;
  Ends ends_;
  std::vector<std::string> stops_, lost_, notes_;
};

}  // namespace um
