// Models merged into one: those that do not match are refused by name before anything is written,
// then one tensor after the other is computed (merge_methods.h) and written. docs/merging.md.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/convert.h"
#include "models/merge_methods.h"

namespace um {

/// What was merged, in the directory of the result.
inline constexpr const char* kMergeFile = "merge.json";

struct MergeOptions {
  MergeRule rule = {};                             ///< a weight for each model
  std::vector<std::filesystem::path> models = {};  ///< directories or .gguf files
  std::filesystem::path base = {};                 ///< where the method needs one
  std::optional<DType> dtype = {};  ///< of the result; nothing: the widest that a tensor has
};

/// A group of models whose mean difference to the base is added, `lambda` times.
struct DeltaGroup {
  double lambda = 1;
  std::vector<std::filesystem::path> models = {};
};

/// Grouped mean of differences (Pangu Pro MoE, arXiv 2505.21411): base + the sum over groups of
/// lambda · mean(model - base). Throws UsageError for a group without models.
MergeOptions mean_of_deltas(const std::vector<DeltaGroup>& groups, std::filesystem::path base);

class Merge {
 public:
  /// Opens all models. Throws Error naming model, field, tensor or tokenizer where they do not
  /// match, and UsageError where the options do not.
  explicit Merge(MergeOptions options, std::filesystem::path out);

  /// The tensors of the result, by name, and their bytes.
  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  uint64_t bytes() const;
  /// What a user should know of the result, in words.
  const std::vector<std::string>& notes() const { return notes_; }
  /// The contents of merge.json.
  nlohmann::ordered_json record() const;

  /// Writes the directory, which must hold no model. Throws Error naming the tensor for values that
  /// the type of the result does not hold; then what was begun is gone.
  void write(const Conversion::Progress& progress) const;

 private:
  const Conversion& first() const { return *plans_.front(); }
  void note(std::string text);
  void open();
  void check_configs();
  void check_tokenizers();
  void plan_tensors();
  void choose_texts();
  void write_tensor(const TensorSpec& spec, const TensorSink& sink) const;

  MergeOptions options_;
  std::filesystem::path out_;
  std::vector<std::filesystem::path> paths_;        ///< the base if there is one, then the models
  std::vector<std::unique_ptr<Conversion>> plans_;  ///< of each path
  size_t texts_ = 0;                                ///< whose tokenizer and config go along
  std::vector<TensorSpec> tensors_;
  std::vector<std::string> notes_;
};

}  // namespace um
