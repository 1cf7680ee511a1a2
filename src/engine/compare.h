// A model's predictions of a text beside those of a base: the base writes them to a file
// (base_file.h), the model is compared with the file (divergence.h). One text in chunks, as
// llama.cpp's `llama-perplexity` cuts it, so that files and figures can be exchanged with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "engine/base_file.h"
#include "engine/divergence.h"
#include "models/model.h"

namespace um {

/// Whole chunks of `context` tokens. The model sees each by itself, its first token replaced by
/// `bos`; the second half is scored.
struct ChunkedText {
  int64_t context = 512;
  int32_t bos = -1;             ///< -1: the text's own token stays
  std::vector<int32_t> tokens;  ///< [chunks · context]

  int64_t chunks() const { return std::ssize(tokens) / context; }
  int64_t scored() const { return chunks() * scored_rows(context); }

  /// A text's tokens (with `bos` in front if there is one) without what is left of a last chunk,
  /// and at most `max_chunks` (0: all) chunks. Throws Error if they are fewer than one chunk.
  static ChunkedText cut(std::vector<int32_t> tokens, int64_t context, int32_t bos,
                         int64_t max_chunks = 0);
};

struct CompareOptions {
  int64_t batch_tokens = 4096;  ///< chunks are run together up to about so many tokens
  /// Hears how many places have been scored, of how many, and the mean of -ln p so far.
  std::function<void(int64_t scored, int64_t all, double nats)> progress = {};
};

/// Scores the text and writes the base file `path`. Returns the perplexity. Throws Error if a token
/// is outside the vocabulary, a chunk is longer than the model's positions, or logits are no
/// numbers.
Estimate save_base_file(const Model& model, const ChunkedText& text,
                        const std::filesystem::path& path, const CompareOptions& options = {});

/// Compares the model with the base whose file this is, on the file's text or its first
/// `max_chunks` (0: all) chunks. `bos` is that of the model's tokenizer (-1: none); it begins each
/// chunk if it begins the file's text. The report's base_perplexity is that of the file, in which
/// the rarest tokens are likelier than they were: save_base_file has the exact one. Throws Error as
/// above, and unless the vocabularies are the same.
DivergenceReport compare_with_base(const Model& model, const BaseFile& base, int32_t bos,
                                   int64_t max_chunks = 0, const CompareOptions& options = {});

}  // namespace um
