// See shard.h.
#include "data/shard.h"

#include <bit>
#include <cstring>

#include "core/checksum.h"
#include "core/error.h"
#include "core/load.h"

namespace um {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are read in place");

constexpr char kMagic[] = "UMTOKENS";
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version, token_bytes, vocab_size, zero;
  uint64_t documents, tokens;
  char zeros[24];
};
static_assert(sizeof(Header) == 64);

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

TokenShard::TokenShard(const std::filesystem::path& path) : file_(path), name_(path.string()) {
  check(file_->bytes());
}

TokenShard::TokenShard(std::span<const std::byte> bytes, std::string name)
    : name_(std::move(name)) {
  check(bytes);
}

void TokenShard::check(std::span<const std::byte> bytes) {
  base_ = bytes.data();
  size_ = bytes.size();
  UM_CHECK(size_ >= sizeof(Header), "{}: {} bytes are no token shard, its header alone has {}",
           name_, size_, sizeof(Header));
  const auto header = load<Header>(base_);
  UM_CHECK(std::memcmp(header.magic, kMagic, 8) == 0, "{}: not a token shard (wrong magic)", name_);
  UM_CHECK(header.version == kVersion, "{}: shard version {}, expected {}", name_, header.version,
           kVersion);
  UM_CHECK(header.token_bytes == 2 || header.token_bytes == 4,
           "{}: {} bytes per token, expected 2 or 4", name_, header.token_bytes);
  UM_CHECK(header.vocab_size > 0 && header.vocab_size <= (1u << 30),
           "{}: vocabulary of {}, expected 1 to {}", name_, header.vocab_size, 1u << 30);
  // Each count is bounded by the file's size before it is multiplied.
  const uint64_t room = size_ - sizeof(Header);
  UM_CHECK(header.documents < room / 8 && header.tokens <= room / header.token_bytes &&
               (header.documents + 1) * 8 + header.tokens * header.token_bytes == room,
           "{}: {} documents and {} tokens do not fit {} bytes; the file is damaged or cut", name_,
           header.documents, header.tokens, size_);
  documents_ = header.documents;
  tokens_ = header.tokens;
  vocab_size_ = header.vocab_size;
  token_bytes_ = header.token_bytes;
  first_token_ = base_ + sizeof(Header) + (documents_ + 1) * 8;
  UM_CHECK(offset(0) == 0 && offset(documents_) == tokens_,
           "{}: the document offsets span {} to {}, expected 0 to {}", name_, offset(0),
           offset(documents_), tokens_);
  for (uint64_t d = 0; d < documents_; ++d) {
    UM_CHECK(offset(d) < offset(d + 1), "{}: document {} ends at token {}, before it begins at {}",
             name_, d, offset(d + 1), offset(d));
  }
}

uint64_t TokenShard::offset(uint64_t d) const {
  return load<uint64_t>(base_ + sizeof(Header) + d * 8);
}

void TokenShard::read(uint64_t d, uint64_t begin, uint64_t count, std::vector<int32_t>& out) const {
  UM_CHECK(d < documents_ && begin <= length(d) && count <= length(d) - begin,
           "{}: tokens {} + {} of document {}: outside the shard", name_, begin, count, d);
  const uint64_t first = offset(d) + begin;
  const size_t before = out.size();
  out.resize(before + count);
  uint32_t largest = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const std::byte* at = first_token_ + (first + i) * token_bytes_;
    const uint32_t id = token_bytes_ == 2 ? load<uint16_t>(at) : load<uint32_t>(at);
    largest = std::max(largest, id);
    out[before + i] = static_cast<int32_t>(id);
  }
  if (count > 0 && largest >= vocab_size_) {
    out.resize(before);
    fail("{}: document {} has token id {}, the vocabulary has {}", name_, d, largest, vocab_size_);
  }
}

uint32_t TokenShard::checksum() const {
  return crc32_of({base_, size_});
}

ShardWriter::ShardWriter(uint32_t vocab_size)
    : vocab_size_(vocab_size), token_bytes_(vocab_size <= 65536 ? 2 : 4) {}

void ShardWriter::add(std::span<const int32_t> document) {
  UM_CHECK(!document.empty(), "shard: an empty document");
  for (const int32_t id : document) {
    UM_CHECK(id >= 0 && static_cast<uint32_t>(id) < vocab_size_,
             "shard: token id {}, the vocabulary has {}", id, vocab_size_);
    data_.append(reinterpret_cast<const char*>(&id), token_bytes_);  // little-endian
  }
  offsets_.push_back(offsets_.back() + document.size());
}

std::string ShardWriter::bytes() const {
  Header header{};
  std::memcpy(header.magic, kMagic, 8);
  header.version = kVersion;
  header.token_bytes = token_bytes_;
  header.vocab_size = vocab_size_;
  header.documents = documents();
  header.tokens = tokens();
  std::string out;
  out.reserve(sizeof header + offsets_.size() * 8 + data_.size());
  append(out, header);
  for (const uint64_t offset : offsets_) append(out, offset);
  return out + data_;
}

void ShardWriter::clear() {
  offsets_.assign(1, 0);
  data_.clear();
}

}  // namespace um
