// The loader: packed corpora → an endless, shuffled, exactly resumable stream of training batches,
// or one pass over a split.
//
// Each document is cut into chunks of at most `seq_len` tokens. A chunk is one sequence of a batch:
// inputs d[a..b), targets d[a+1..b+1), so every transition of a document is learnt once per epoch.
// The last token of a document is only ever a target. An epoch of a corpus is a random order of its
// chunks, fixed by seed and epoch; the next epoch begins where the last ends, within a batch if
// need be. A train batch has exactly batch × seq_len tokens: its last chunk is cut there and goes
// on, as a sequence of its own, in the next batch. No token is lost or padded.
//
// Several corpora are mixed by weight in tokens: the next chunk comes from the one that is furthest
// behind its share. The stream is a function of seed and corpora alone, and its state a few
// numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/batch_source.h"
#include "data/dataset.h"
#include "data/permutation.h"

namespace um {

struct SourceOptions {
  std::filesystem::path directory;  // of a packed corpus
  double weight = 1;                // share of tokens, relative to the other sources
};

struct LoaderOptions {
  std::vector<SourceOptions> sources;
  int64_t batch = 8;      // sequences of full length in one batch
  int64_t seq_len = 256;  // longest sequence; a batch has batch × seq_len tokens
  uint64_t seed = 1;
  bool val = false;       // the held-out split
  bool one_pass = false;  // ends then; weights are ignored, the order is the same for all seeds
  /// Data parallelism: rank r of `world` gets the batches r, r + world, r + 2·world, … of the
  /// stream.
  int64_t rank = 0, world = 1;
};

class Loader : public BatchSource {
 public:
  /// Opens the corpora. Throws Error if one is missing or damaged, has nothing in the split, or
  /// they were made by different tokenizers.
  explicit Loader(LoaderOptions options);

  /// Fills `batch` (its memory is reused). False after the last batch of one pass, which may be
  /// shorter than the others.
  bool next(Batch& batch) override;
  /// Begins again.
  void rewind();

  /// Where the stream stands. `restore` of it in a loader with the same options continues with the
  /// same batches; it throws Error, naming the field, if seed, seq_len or the corpora differ. The
  /// batch size, rank and world may change. (A phase with another seq_len cuts other chunks: give
  /// it a new loader with another seed.)
  Json state() const override;
  void restore(const Json& state) override;

  SourceDescription describe() const override;

  /// Passes over source `s` so far, in parts of its chunks.
  double epochs(size_t s) const;
  /// Tokens put out so far, of all ranks.
  uint64_t tokens() const;
  uint32_t vocab_size() const { return datasets_[0].manifest().vocab_size; }
  const std::string& tokenizer_hash() const { return datasets_[0].tokenizer_hash(); }
  const std::vector<Dataset>& datasets() const { return datasets_; }
  /// Hashes of the corpora, as in the state.
  std::string fingerprint() const;

 private:
  /// A corpus with its place in the stream.
  struct Source {
    double weight = 1;
    std::vector<uint64_t> first_document;  // by shard: number of documents before it
    std::vector<uint64_t> first_chunk;     // by document, and the total: number of chunks before it
    uint64_t epoch = 0, cursor = 0;        // chunks taken = epoch × total + cursor
    uint64_t drawn = 0;                    // tokens taken
    uint64_t chunks() const { return first_chunk.back(); }
  };
  /// The chunk being put out: tokens [begin, end) of a document, of which [.., at) are done.
  struct Chunk {
    bool open = false;
    size_t source = 0;
    uint64_t chunk = 0, done = 0;
  };

  void index_source(const Dataset& dataset, double weight);
  size_t furthest_behind() const;
  bool open_chunk();
  void put_chunk(Batch& batch, uint64_t room);
  bool fill(Batch& batch);

  LoaderOptions options_;
  std::vector<Dataset> datasets_;
  std::vector<Source> sources_;
  Chunk current_;
  std::vector<int32_t> scratch_;  // a chunk's tokens and the one behind it
};

}  // namespace um
