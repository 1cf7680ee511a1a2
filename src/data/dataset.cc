// See dataset.h.
#include "data/dataset.h"

#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/paths.h"
#include "text/tokenizer.h"

namespace um {
namespace {

constexpr std::string_view kFormat = "ultramoe-tokens";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaxCount = int64_t{1} << 52;  // of anything; exact in a double

Json split_json(const SplitInfo& split) {
  Json shards = Json::array();
  for (const ShardInfo& shard : split.shards) {
    shards.push_back({{"file", shard.file},
                      {"documents", shard.documents},
                      {"tokens", shard.tokens},
                      {"file_bytes", shard.file_bytes},
                      {"crc32", shard.crc32}});
  }
  return {{"documents", split.documents},
          {"tokens", split.tokens},
          {"text_bytes", split.text_bytes},
          {"unigram_entropy_nats", split.unigram_entropy},
          {"shards", shards}};
}

uint64_t count(const JsonObject& object, const char* key) {
  return static_cast<uint64_t>(object.integer(key, 0, kMaxCount));
}

/// The elements of an array field, each as an object.
template <class Read>
void each_object(const JsonObject& object, const std::string& key, Read read) {
  const Json* list = object.find(key);
  if (list == nullptr || !list->is_array()) object.wrong(key, "an array");
  for (size_t i = 0; i < list->size(); ++i) {
    read(JsonObject((*list)[i], fmt::format("{}: {}[{}]", object.where(), key, i)));
  }
}

ShardInfo read_shard_info(const JsonObject& object) {
  ShardInfo shard;
  shard.file = object.string("file");
  // A plain name: a manifest cannot point outside its directory.
  if (shard.file.empty() || shard.file.find('/') != std::string::npos || shard.file[0] == '.') {
    object.wrong("file", "a file name without a directory");
  }
  shard.documents = count(object, "documents");
  shard.tokens = count(object, "tokens");
  shard.file_bytes = count(object, "file_bytes");
  shard.crc32 = object.string("crc32");
  return shard;
}

SplitInfo read_split(const JsonObject& object) {
  SplitInfo split;
  split.documents = count(object, "documents");
  split.tokens = count(object, "tokens");
  split.text_bytes = count(object, "text_bytes");
  split.unigram_entropy = object.number("unigram_entropy_nats", 0, 64);
  uint64_t documents = 0, tokens = 0;
  each_object(object, "shards", [&](const JsonObject& shard) {
    split.shards.push_back(read_shard_info(shard));
    documents += split.shards.back().documents;
    tokens += split.shards.back().tokens;
  });
  UM_CHECK(documents == split.documents && tokens == split.tokens,
           "{}: {} documents and {} tokens, but its shards have {} and {}", object.where(),
           split.documents, split.tokens, documents, tokens);
  return split;
}

std::vector<TokenShard> open_shards(const std::filesystem::path& directory,
                                    const Manifest& manifest, const SplitInfo& split) {
  std::vector<TokenShard> shards;
  for (const ShardInfo& info : split.shards) {
    const auto path = directory / info.file;
    const TokenShard& shard = shards.emplace_back(path);
    UM_CHECK(shard.documents() == info.documents && shard.tokens() == info.tokens &&
                 shard.vocab_size() == manifest.vocab_size,
             "{}: {} documents, {} tokens, vocabulary {}; the manifest says {}, {}, {}",
             path.string(), shard.documents(), shard.tokens(), shard.vocab_size(), info.documents,
             info.tokens, manifest.vocab_size);
  }
  return shards;
}

/// The tokenizer's files are replaced just before the manifest; a kill between the two shows here.
void check_tokenizer(const std::filesystem::path& directory, const Manifest& manifest) {
  if (!path_exists(directory / "tokenizer.model")) return;
  const std::string found = Tokenizer::load(directory).hash();
  UM_CHECK(found == manifest.tokenizer_hash,
           "{}: tokenizer.model is tokenizer {}, the manifest says {}; pack again",
           directory.string(), found, manifest.tokenizer_hash);
}

}  // namespace

Json Manifest::json() const {
  Json list = Json::array();
  for (const SourceInfo& source : sources) {
    list.push_back({{"name", source.name},
                    {"file_bytes", source.file_bytes},
                    {"documents", source.documents}});
  }
  return {{"format", kFormat},
          {"version", kVersion},
          {"vocab_size", vocab_size},
          {"tokenizer_hash", tokenizer_hash},
          {"document", document},
          {"val_fraction", val_fraction},
          {"seed", seed},
          {"train", split_json(train)},
          {"val", split_json(val)},
          {"sources", list}};
}

Manifest Manifest::parse(const Json& json, const std::string& where) {
  const JsonObject object(json, where);
  if (object.string("format") != kFormat) object.wrong("format", kFormat);
  object.integer("version", kVersion, kVersion);
  Manifest manifest;
  manifest.vocab_size = static_cast<uint32_t>(object.integer("vocab_size", 1, 1 << 30));
  manifest.tokenizer_hash = object.string("tokenizer_hash");
  manifest.document = object.string("document");
  manifest.val_fraction = object.number("val_fraction", 0, 1);
  manifest.seed = count(object, "seed");
  manifest.train = read_split(object.object("train"));
  manifest.val = read_split(object.object("val"));
  each_object(object, "sources", [&](const JsonObject& source) {
    manifest.sources.push_back(
        {source.string("name"), count(source, "file_bytes"), count(source, "documents")});
  });
  return manifest;
}

Dataset::Dataset(const std::filesystem::path& directory) : directory_(directory) {
  const auto path = directory / kManifestName;
  UM_CHECK(
      path_exists(path),
      "{}: no {} here: not a packed corpus, or its packing was not finished; run `ultramoe data "
      "pack`",
      directory.string(), kManifestName);
  manifest_ = Manifest::parse(read_json_file(path), path.string());
  check_tokenizer(directory, manifest_);
  train_ = open_shards(directory, manifest_, manifest_.train);
  val_ = open_shards(directory, manifest_, manifest_.val);
}

void Dataset::verify() const {
  const auto compare = [&](const SplitInfo& split, const std::vector<TokenShard>& shards) {
    for (size_t i = 0; i < shards.size(); ++i) {
      const std::string found = fmt::format("{:08x}", shards[i].checksum());
      UM_CHECK(found == split.shards[i].crc32, "{}: checksum {}, the manifest says {}",
               (directory_ / split.shards[i].file).string(), found, split.shards[i].crc32);
    }
  };
  compare(manifest_.train, train_);
  compare(manifest_.val, val_);
}

std::string Dataset::hash() const {
  std::string all = manifest_.tokenizer_hash;
  for (const ShardInfo& shard : manifest_.train.shards) all += "," + shard.crc32;
  for (const ShardInfo& shard : manifest_.val.shards) all += ";" + shard.crc32;
  return fmt::format("{:08x}", crc32_of(std::as_bytes(std::span(all))));
}

}  // namespace um
