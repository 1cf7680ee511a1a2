// GGUF files as models: their parts, their metadata as a Hugging Face config.json, and their
// tensors under Hugging Face names in Hugging Face layouts. Facts: docs/formats.md.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf.h"
#include "models/weights.h"

namespace um {

/// The key of ours for the `stop_strings` of generation_config.json.
inline constexpr const char* kStopsKey = "ultramoe.stop_strings";

/// Whether a path is taken for a GGUF file: its extension, and that it is no directory.
bool is_gguf(const std::filesystem::path& path);

/// One model: the file, and where it is split, its other parts.
class GgufModel {
 public:
  /// Opens `path`, the first or only part. Throws Error for parts that are missing or do not belong
  /// together.
  explicit GgufModel(const std::filesystem::path& path);
  /// Of one file that is open already.
  explicit GgufModel(std::shared_ptr<const Gguf> file);

  /// The first part: it has the metadata.
  const Gguf& file() const { return *parts_.front(); }
  const std::vector<std::shared_ptr<const Gguf>>& parts() const { return parts_; }
  const std::string& name() const { return file().name(); }
  /// `general.architecture`.
  const std::string& architecture() const { return architecture_; }

  /// The architecture's value `ARCHITECTURE.suffix`. Integers are 0 to 2^40, else Error; `integer`
  /// throws Error where it is missing.
  int64_t integer(std::string_view suffix) const;
  int64_t integer_or(std::string_view suffix, int64_t fallback) const;
  /// A value that a file may give once for each layer: an array whose entries are all the same is
  /// that value. Throws Error where layers differ.
  int64_t layers_integer(std::string_view suffix) const;
  int64_t layers_integer_or(std::string_view suffix, int64_t fallback) const;
  double number_or(std::string_view suffix, double fallback) const;
  bool has(std::string_view suffix) const;
  /// The tensor of this name, or null.
  const GgufTensor* find(std::string_view name) const;
  /// The bytes of a tensor that `find` gave; see Gguf::contents.
  std::span<const std::byte> contents(const GgufTensor& tensor) const;

 private:
  std::string key(std::string_view suffix) const;
  int64_t in_bounds(std::string_view suffix, int64_t value) const;
  void open_parts(const std::filesystem::path& first);
  void index();

  std::vector<std::shared_ptr<const Gguf>> parts_;
  std::string architecture_;
  std::map<std::string, const GgufTensor*, std::less<>> tensors_;
};

/// The metadata as a config.json in the published spelling of the family. Throws Error for an
/// architecture that is not known.
nlohmann::json gguf_config(const GgufModel& model);

/// The tensors under Hugging Face names: rows of q and k in half-rotate order, experts one by one,
/// kv_b in one piece. Tensors that no rule knows keep their names.
WeightSource gguf_weights(const GgufModel& model);
/// The same of a file.
WeightSource open_gguf_weights(const std::filesystem::path& path);

}  // namespace um
