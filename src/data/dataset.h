// A packed corpus on disk: a directory with manifest.json, token shards for two splits, and the
// tokenizer they were made with.
//
// The manifest is written last and names the shards by their checksums and the tokenizer by its
// hash, so a directory opens as one complete corpus or not at all, whatever happened while it was
// packed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "data/shard.h"

namespace um {

struct ShardInfo {
  std::string file;  // name in the directory
  uint64_t documents = 0, tokens = 0, file_bytes = 0;
  std::string crc32;  // of the file, 8 hexadecimal digits
};

/// What is known of one split.
struct SplitInfo {
  uint64_t documents = 0;
  uint64_t tokens = 0;      // with BOS and EOS
  uint64_t text_bytes = 0;  // of the documents' text (UTF-8), for bits per byte
  /// Entropy in nats per token of the unigram distribution of all tokens that are predicted (all
  /// but the first of each document): what a model that knows only frequencies would reach.
  double unigram_entropy = 0;
  std::vector<ShardInfo> shards;
};

struct SourceInfo {
  std::string name;  // file name without its directory
  uint64_t file_bytes = 0, documents = 0;
};

struct Manifest {
  int64_t version = 2;
  uint32_t vocab_size = 0;
  std::string tokenizer_hash;  // Tokenizer::hash(); of version 1 file_hash()
  std::string document;        // the document rule
  double val_fraction = 0;
  uint64_t seed = 0;
  SplitInfo train, val;
  std::vector<SourceInfo> sources;

  Json json() const;
  /// Reads it back strictly; throws Error naming `where` and the field.
  static Manifest parse(const Json& json, const std::string& where);
};

inline constexpr std::string_view kManifestName = "manifest.json";

/// An opened packed corpus.
class Dataset {
 public:
  /// Reads the manifest and maps the shards of both splits. Throws Error naming the file if
  /// something is missing, damaged or disagrees with the manifest.
  explicit Dataset(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }
  /// Tokenizer::hash() of the tokenizer it was made with.
  const std::string& tokenizer_hash() const { return tokenizer_hash_; }
  const std::vector<TokenShard>& shards(bool val) const { return val ? val_ : train_; }
  /// Reads all shards and compares their checksums with the manifest. Throws Error naming the
  /// shard.
  void verify() const;
  /// Identifies the content: a hash over the shards' checksums and the tokenizer's.
  std::string hash() const;

 private:
  std::filesystem::path directory_;
  Manifest manifest_;
  std::string tokenizer_hash_;
  std::vector<TokenShard> train_, val_;
};

}  // namespace um
