// A small packed corpus for the tests of training, made on the spot.
#pragma once

#include <filesystem>
#include <string>

#include "train/options.h"

namespace um::testing {

/// A directory under the system's temporary one that removes itself.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& name);
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Writes text of a simple grammar, trains a tokenizer of 320 tokens on it and packs it into
/// `directory`/data, which it returns.
std::filesystem::path make_corpus(const std::filesystem::path& directory, uint64_t lines = 3000);

/// A run of a few seconds: nano-ultra with its MTP head on that corpus.
RunOptions small_run(const std::filesystem::path& data, int64_t steps);

}  // namespace um::testing
