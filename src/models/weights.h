// Where a model's weights come from: tensors under their published (Hugging Face) names, whatever
// file and type they are stored in. Views cut, stack and reorder stored tensors without reading
// them, so that a file's own layout stays out of the models.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "ops/rows.h"

namespace um {

/// A tensor that can be read: row-major, seen as a matrix of the last extent's columns.
struct StoredWeight {
  /// Writes rows [row, row + count) as f32. Never throws, and may be called by several threads.
  using Read = std::function<void(int64_t row, int64_t count, float* out)>;

  std::vector<int64_t> shape;
  DType dtype = DType::f32;  ///< the narrowest of f32, bf16, f16 that a copy should be kept in
  bool exact = true;         ///< `dtype` holds every value (not so for quantised ones in bf16)
  std::string format;        ///< how the file stores it: "BF16", "Q4_K"
  uint64_t bytes = 0;        ///< of it in the file
  Read read;                 ///< empty for a type that has no values in f32 (BOOL)
  /// The integers that the file keeps, in the narrowest format of panels that holds them all; no
  /// format where it keeps none, or none of a kind that kernels take.
  struct Codes {
    RowFormat format;
    std::function<void(int64_t row, RowCodes& out)> read;  ///< like `read`
  };
  Codes codes;
  /// The values themselves in `dtype`, where they lie in the file like that; else empty.
  std::span<const std::byte> plain;

  int64_t columns() const;  ///< the last extent; of a vector its length
  int64_t rows() const;     ///< product of the others
};

/// All tensors of a checkpoint. Copies share the open files.
class WeightSource {
 public:
  /// `where` begins every error: the path.
  explicit WeightSource(std::string where) : where_(std::move(where)) {}

  /// Throws Error for a name that is there already.
  void add(const std::string& name, StoredWeight weight);
  void remove(const std::string& name) { tensors_.erase(name); }
  /// Keeps something alive as long as this source and its copies: the open file.
  void keep(std::shared_ptr<const void> file) { files_.push_back(std::move(file)); }
  /// A file of these tensors, which is kept and stays open.
  void add_file(const MappedFile& file) { mapped_.push_back(&file); }
  /// Throws Error if one of the files has become shorter (MappedFile::check_whole).
  void check_whole() const;
  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  /// The tensor of this name, or null.
  const StoredWeight* find(std::string_view name) const;
  /// The same. Throws Error naming checkpoint and tensor if there is none.
  const StoredWeight& at(std::string_view name) const;
  const std::map<std::string, StoredWeight, std::less<>>& tensors() const { return tensors_; }
  /// Harmless oddities that were seen when the files were opened.
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// Bytes of all tensors in the files.
  uint64_t total_bytes() const;
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  std::vector<std::shared_ptr<const void>> files_;
  std::vector<const MappedFile*> mapped_;
  std::map<std::string, StoredWeight, std::less<>> tensors_;
  std::vector<std::string> warnings_;
};

/// Opens a checkpoint directory, a .safetensors or a .gguf file (of a split one, the first).
/// Throws Error naming file and tensor.
WeightSource open_weights(const std::filesystem::path& path);
/// Whether open_weights would find files of weights there.
bool has_weights(const std::filesystem::path& path);

/// Throws Error unless the weight has this shape and can be read as numbers.
void check_weight(const StoredWeight& weight, std::string_view name,
                  const std::vector<int64_t>& shape, const std::string& where);
/// A whole weight into `to` from row `begin` on, with all threads. A vector is a part of a row of
/// `to`, or all of it.
void read_weight(const StoredWeight& weight, const Rows& to, int64_t begin);

/// A tensor in one of the types that convert_to_f32 reads; of others only the shape is known.
StoredWeight plain_weight(const TensorView& view);

/// Rows [begin, begin + product of `shape`'s leading extents), in another shape of as many columns.
StoredWeight row_slice(const StoredWeight& weight, int64_t begin, std::vector<int64_t> shape);
/// Tensors of equal shape [a, b] one after the other: [n, a, b].
StoredWeight stack(const std::vector<StoredWeight>& weights);
/// Row i of the result is row `order(i)` of `weight`.
StoredWeight reorder_rows(const StoredWeight& weight, std::function<int64_t(int64_t)> order);
/// The same of a vector's values.
StoredWeight reorder_values(const StoredWeight& vector, std::function<int64_t(int64_t)> order);
/// [n, a, b] with the last two extents swapped: [n, b, a].
StoredWeight swap_last(const StoredWeight& weight);
/// [n, a, c] and [n, b, c] side by side: [n, a + b, c].
StoredWeight join_middle(const StoredWeight& first, const StoredWeight& second);
/// Another shape of as many elements and columns.
StoredWeight reshaped(StoredWeight weight, std::vector<int64_t> shape);

}  // namespace um
