// The file in which llama.cpp's `llama-perplexity` keeps the predictions of a base model
// (--save-all-logits, --kl-divergence-base), so that others can be compared with it. Little-endian:
//
//   byte 0   "_logits_"        8  i32 context C       12  i32 vocabulary V     16  i32 chunks K
//   byte 20  i32 tokens[K·C]   then, for each of the K·S scored places in turn, a row:
//            f32 scale, f32 least, u16 codes[V], with one u16 of zero behind them where V is odd
//
// ln p of token i is scale · code_i + least. What is more than 16 below the most likely token's is
// stored as if it were 16 below it. Of a chunk the places C/2 to C-2 are scored, S = C - 1 - C/2,
// each by the token that follows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"

namespace um {

/// The first place of a chunk whose prediction counts, and how many do.
inline int64_t first_scored(int64_t context) {
  return context / 2;
}
inline int64_t scored_rows(int64_t context) {
  return context - 1 - first_scored(context);
}
/// A chunk has at least this many tokens: one place of it is scored.
inline constexpr int64_t kLeastContext = 3;

/// Bytes of a row.
uint64_t base_row_bytes(int64_t vocab);
/// Makes a row of logits [V], none of them NaN or +infinity and one finite. `out` has
/// base_row_bytes(V).
void encode_base_row(std::span<const float> logits, std::span<std::byte> out);

/// A row of a file.
struct BaseRow {
  double scale = 0, least = 0;
  const std::byte* codes = nullptr;  ///< u16, at any address

  /// ln p of all tokens [V]. Returns the sum of p, for BaseFile::check_sum.
  double log_probs(std::span<double> out) const;
};

/// Read access. Every size and token is checked when it is opened, a row's numbers when it is read;
/// a damaged file is an Error, never a wild read. What has been read need not stay in memory.
class BaseFile {
 public:
  /// Maps a file. Throws Error `PATH: …` unless it is a base file, whole and consistent.
  explicit BaseFile(const std::filesystem::path& path);
  /// A file in memory, which must outlive this; `name` is for errors.
  BaseFile(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  int64_t context() const { return context_; }
  int64_t vocab() const { return vocab_; }
  int64_t chunks() const { return chunks_; }
  int64_t rows() const { return chunks_ * scored_rows(context_); }
  /// [chunks · context], each below vocab.
  const std::vector<int32_t>& tokens() const { return tokens_; }
  /// Row `index` < rows(). Throws Error for numbers that are no logarithms of probabilities.
  BaseRow row(int64_t index) const;
  /// Throws Error unless a row's probabilities have such a sum as rounding leaves.
  void check_sum(int64_t index, double sum) const;

 private:
  void read(std::span<const std::byte> bytes);

  std::optional<MappedFile> file_;
  std::string name_;
  const std::byte* first_row_ = nullptr;
  int64_t context_ = 0, vocab_ = 0, chunks_ = 0;
  std::vector<int32_t> tokens_;
};

/// Writes a base file, which appears under its name when it is complete.
class BaseFileWriter {
 public:
  /// `tokens` are whole chunks of `context` (at least kLeastContext) tokens below `vocab`. Throws
  /// Error if they are not.
  BaseFileWriter(const std::filesystem::path& path, int64_t context, int64_t vocab,
                 std::span<const int32_t> tokens);
  /// Rows of encode_base_row, one behind the other.
  void add(std::span<const std::byte> rows);
  /// Throws Error unless all rows are there.
  void commit();

 private:
  std::string name_;
  AtomicFile file_;
  uint64_t size_ = 0;  ///< of the file when it is complete
};

}  // namespace um
