// One file of token ids with document boundaries, memory-mapped. Little-endian:
//
//   byte 0   "UMTOKENS"        8  u32 version = 1      12  u32 bytes per token: 2 or 4
//   byte 16  u32 vocabulary    20  u32 zero            24  u64 documents D     32  u64 tokens T
//   byte 40  24 zero bytes     64  u64 offsets[D+1]: document d is tokens [offsets[d],
//   offsets[d+1]) then     T tokens, and nothing after them
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

/// Read access to a shard. Every size and offset is checked when it is opened, token ids when they
/// are read; a damaged file is an Error, never a wild read.
class TokenShard {
 public:
  /// Maps a file. Throws Error `PATH: …` unless it is a shard, whole and consistent.
  explicit TokenShard(const std::filesystem::path& path);
  /// A shard in memory, which must outlive this; `name` is for errors.
  TokenShard(std::span<const std::byte> bytes, std::string name);

  uint64_t documents() const { return documents_; }
  uint64_t tokens() const { return tokens_; }
  uint32_t vocab_size() const { return vocab_size_; }
  uint32_t bytes_per_token() const { return token_bytes_; }
  /// Number of tokens of document `d` < documents(); at least 1.
  uint64_t length(uint64_t d) const { return offset(d + 1) - offset(d); }
  /// Appends tokens [begin, begin+count) of document `d` to `out`. Throws Error if the range does
  /// not lie in the document or an id is not below vocab_size().
  void read(uint64_t d, uint64_t begin, uint64_t count, std::vector<int32_t>& out) const;
  /// CRC-32 of all bytes of the file.
  uint32_t checksum() const;

 private:
  void check(std::span<const std::byte> bytes);
  uint64_t offset(uint64_t d) const;

  std::optional<MappedFile> file_;
  std::string name_;
  const std::byte* base_ = nullptr;
  size_t size_ = 0;
  const std::byte* first_token_ = nullptr;
  uint64_t documents_ = 0, tokens_ = 0;
  uint32_t vocab_size_ = 0, token_bytes_ = 0;
};

/// Collects documents and writes them as one shard. Deterministic: the same documents give the same
/// bytes.
class ShardWriter {
 public:
  /// Ids take 2 bytes where `vocab_size` allows it, else 4.
  explicit ShardWriter(uint32_t vocab_size);

  /// Adds a document of at least one token, ids in [0, vocab_size).
  void add(std::span<const int32_t> document);
  uint64_t documents() const { return offsets_.size() - 1; }
  uint64_t tokens() const { return offsets_.back(); }
  /// The file's bytes.
  std::string bytes() const;
  /// Forgets the documents.
  void clear();

 private:
  uint32_t vocab_size_, token_bytes_;
  std::vector<uint64_t> offsets_ = {0};
  std::string data_;  // the tokens, encoded
};

}  // namespace um
