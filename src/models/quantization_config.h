// What a quantised checkpoint says of itself, in config.json and in ModelSlim's
// quant_model_description.json, and which scheme that gives each matrix. The file's tensors are
// held against it (quantized.h). Facts: docs/formats.md.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "text/pcre.h"

namespace um {

/// How many rows and columns of a matrix one scale covers; 0 stands for all of them.
struct ScaleBlocks {
  int64_t rows = 1, columns = 1;
};

/// What is said of one matrix. What is left open is empty.
struct WeightScheme {
  std::string where;                       ///< the file and field that say it
  bool quantised = true;                   ///< false: it is said to be stored as it is
  std::optional<bool> packed;              ///< in 32-bit words, as `weight_packed`
  std::optional<DType> dtype;              ///< of `weight`, where it is not packed
  std::optional<int64_t> bits;             ///< of a value
  std::optional<bool> symmetric, ordered;  ///< without zero points; with columns in g_idx's groups
  std::string strategy;                    ///< "channel", … for messages
  std::optional<ScaleBlocks> blocks;
};

/// Which modules a list names: by name, by `re:` and a pattern that fits its beginning, by class.
class ModuleList {
 public:
  ModuleList() = default;
  /// `parts`: a name also stands for what it contains, and for every module that ends with it.
  /// Throws Error for a pattern that does not compile.
  ModuleList(const std::vector<std::string>& entries, const std::string& where, bool parts = false);
  /// How well the list fits a module: 3 its name, 2 a pattern, 1 its class, 0 not at all.
  int fit(const std::string& module) const;
  /// Whether it has classes that may or may not be the module's.
  bool has_other_classes() const { return other_classes_; }

 private:
  std::set<std::string> names_;
  std::vector<Pcre> patterns_;
  bool parts_ = false, linear_ = false, embedding_ = false, other_classes_ = false;
};

class QuantizationConfig {
 public:
  /// Reads what lies in a checkpoint's directory; nothing is an empty config. Throws Error for a
  /// method, format or scheme that we cannot read, naming it.
  explicit QuantizationConfig(const std::filesystem::path& directory);

  bool quantised() const { return quantised_; }
  /// The scheme of a module's weight; null where nothing is said.
  const WeightScheme* scheme(const std::string& module) const;
  /// Whether every matrix that is said to be quantised has to be: ModelSlim names each.
  bool strict() const { return described_; }
  /// Whether matrices are targeted by class or name, as compressed-tensors does.
  bool targets() const { return !groups_.empty(); }
  /// Throws Error if ModelSlim's description names a tensor of a quantised matrix that is missing.
  void check_described(const CheckpointReader& reader) const;
  /// Channels of a block of Hadamard's matrix that turns what the module reads, and by which its
  /// weight's rows are stored turned (RowFormat::rotation); 0: none. Throws Error for a matrix of
  /// `columns` that are no whole blocks.
  int64_t rotation(const std::string& module, int64_t columns) const;
  /// What is said and not done.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Group {
    ModuleList targets;
    WeightScheme scheme;
  };
  /// A transform of compressed-tensors that is done while the model runs.
  struct Rotation {
    ModuleList targets, ignored;
    int64_t block;  ///< 0: the whole row
    std::string where;
  };
  void read_fp8(const JsonObject& config);
  void read_transforms(const JsonObject& transforms);
  void read_compressed_tensors(const JsonObject& config);
  void read_description(const std::filesystem::path& path);

  bool quantised_ = false, described_ = false;
  std::vector<Group> groups_;        // compressed-tensors
  std::vector<Rotation> rotations_;  // the same
  std::optional<WeightScheme> all_;  // fp8
  ModuleList ignored_;
  WeightScheme as_it_is_, untargeted_;
  std::map<std::string, std::string> types_;  // ModelSlim: tensor → type
  WeightScheme w8a8_;
  std::vector<std::string> warnings_;
};

}  // namespace um
