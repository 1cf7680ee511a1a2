// Packing: text files → tokens → shards and a manifest, in parallel.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "data/dataset.h"
#include "data/text_reader.h"
#include "text/tokenizer.h"
#include "text/train.h"

namespace um {

struct PackProgress {
  uint64_t bytes_read = 0, bytes_total = 0;  // on disk (compressed where it is)
  uint64_t documents = 0, tokens = 0;
};

struct PackOptions {
  std::vector<std::filesystem::path> inputs;   // files and directories
  std::filesystem::path out_dir;               // made if missing
  ReadOptions read;                            // document rule, text field, limits
  uint64_t shard_tokens = uint64_t{32} << 20;  // a shard ends with the document that fills it
  double val_fraction = 0.01;                  // share of documents held out
  uint64_t seed = 1;                           // of the hold-out
  int threads = 1;                             // does not change the result
  std::function<void(const PackProgress&)> progress;  // called from the calling thread
};

/// Packs a corpus, and the tokenizer's files, into `out_dir` and returns its manifest. A document
/// begins as the tokenizer begins texts (Tokenizer::add_bos) and ends with EOS. It is held out by
/// the hash of its text and the seed, so equal documents are never on both sides; if chance holds
/// out none of several documents, the last one is. The tokens do not depend on `threads`. An
/// earlier corpus in `out_dir` stays valid until the new manifest replaces it, then its shards are
/// removed; a kill at any time leaves the old corpus or the new one. Throws Error for an empty
/// corpus, unreadable inputs, a full disk.
Manifest pack_corpus(const Tokenizer& tokenizer, const PackOptions& options);

/// The documents of `inputs`, for train_tokenizer. Calls `progress` about every MiB.
TextSource corpus_source(const std::vector<std::filesystem::path>& inputs, const ReadOptions& read,
                         std::function<void(const PackProgress&)> progress = {});

}  // namespace um
