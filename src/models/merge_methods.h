// Several models' values of one tensor made into one: weighted mean, SLERP, and methods that add
// differences to a base (task arithmetic, TIES, DARE). The formulas are those of mergekit 0.1.5,
// whose results these are within rounding; docs/merging.md has them with the papers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights.h"

namespace um {

enum class MergeMethod { linear, slerp, task_arithmetic, ties, dare_linear, dare_ties, deltas };

/// Names of the command line, in the order of the enum.
std::vector<std::string> merge_method_names();
std::string_view merge_method_name(MergeMethod method);
/// Throws UsageError listing the known ones.
MergeMethod merge_method(std::string_view name);

/// Whether it adds differences to a base.
bool needs_base(MergeMethod method);
/// Whether it keeps a share of each difference, `density`.
bool is_sparse(MergeMethod method);
/// Whether that share is drawn by `seed`.
bool is_random(MergeMethod method);
/// Whether it divides by the sum of the weights if nobody says otherwise.
bool normalizes(MergeMethod method);

struct MergeRule {
  MergeMethod method = MergeMethod::linear;
  std::vector<double> weights = {};  ///< one for each model; SLERP has none
  bool normalize = true;             ///< divide by the sum of the weights (that count)
  double density = 0.5;              ///< (0, 1]: the share of a difference that stays
  double lambda = 1;                 ///< factor on what is added to the base
  double t = 0.5;                    ///< SLERP: 0 is the first model, 1 the second
  uint64_t seed = 42;                ///< of DARE
};

/// Whether DARE keeps element `index` of tensor `name` in the difference of the `model`th model:
/// a function of its arguments alone, true with probability `density`.
bool dare_keeps(uint64_t seed, std::string_view name, size_t model, int64_t index, double density);

/// The merged tensor: rows are computed when they are read, from the same rows of the models (all
/// of one shape; `base` where the method needs one), in f32. What a row needs to know of the whole
/// tensor (SLERP's angle, TIES' threshold, DARE's norms) is found here, in passes over the sources.
/// Memory: a row of each model and of the base for each thread, and a number for each row.
StoredWeight merged_weight(const MergeRule& rule, const std::string& name,
                           const std::optional<StoredWeight>& base,
                           const std::vector<StoredWeight>& models);

}  // namespace um
