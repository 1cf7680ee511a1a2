// See pack.h. Documents are read in waves; the threads tokenise a wave's documents in any order,
// and the wave is written in the order of reading. So the result does not depend on the threads.
#include "data/pack.h"

#include <atomic>
#include <cmath>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/input_file.h"
#include "core/unfinished.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kWaveBytes = 2 << 20;  // of text for each thread
constexpr std::string_view kShardSuffix = ".tokens";

struct Item {
  std::string text;
  std::vector<int32_t> tokens;
  size_t source = 0;
};

/// A hash of text and seed in [0, 1): FNV-1a, then the finaliser of splitmix64.
double document_hash(std::string_view text, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325 ^ (seed * 0x9e3779b97f4a7c15);
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((hash ^ (hash >> 31)) >> 11) * 0x1p-53;
}

/// Runs `work(i)` for i in [0, count) on `threads` threads. The first exception is thrown on.
template <class Work>
void parallel_for(size_t count, int threads, Work work) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    try {
      for (size_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> helpers;  // joined at the end of this block
    for (int t = 1; t < threads; ++t) helpers.emplace_back(run);
    run();
  }
  if (error) std::rethrow_exception(error);
}

/// Writes one split's documents into shards and keeps its statistics.
class SplitWriter {
 public:
  SplitWriter(std::string name, const PackOptions& options, uint32_t vocab_size)
      : name_(std::move(name)), options_(options), shard_(vocab_size), counts_(vocab_size, 0) {}

  void add(const Item& item) {
    shard_.add(item.tokens);
    for (size_t i = 1; i < item.tokens.size(); ++i) ++counts_[static_cast<size_t>(item.tokens[i])];
    ++info_.documents;
    info_.tokens += item.tokens.size();
    info_.text_bytes += item.text.size();
    if (shard_.tokens() >= options_.shard_tokens) flush();
  }

  SplitInfo finish() {
    if (shard_.documents() > 0) flush();
    double total = 0, sum = 0;
    for (const uint64_t count : counts_) total += static_cast<double>(count);
    for (const uint64_t count : counts_) {
      if (count > 0)
        sum -= static_cast<double>(count) * std::log(static_cast<double>(count) / total);
    }
    info_.unigram_entropy = total > 0 ? sum / total : 0;
    return info_;
  }

  uint64_t documents() const { return info_.documents; }
  uint64_t tokens() const { return info_.tokens; }

 private:
  /// The checksum in the name keeps an earlier corpus' shards apart until its manifest is replaced.
  void flush() {
    const std::string bytes = shard_.bytes();
    const std::string crc = fmt::format("{:08x}", crc32_of(std::as_bytes(std::span(bytes))));
    const std::string file =
        fmt::format("{}-{:05}-{}{}", name_, info_.shards.size(), crc, kShardSuffix);
    write_file_atomic(options_.out_dir / file, bytes);
    info_.shards.push_back({file, shard_.documents(), shard_.tokens(), bytes.size(), crc});
    shard_.clear();
  }

  std::string name_;
  const PackOptions& options_;
  ShardWriter shard_;
  std::vector<uint64_t> counts_;  // by token, the first token of each document left out
  SplitInfo info_;
};

/// Wrong usage, unlike what is wrong with a corpus.
void expect_usage(bool right, const char* field, const std::string& found, const char* expected) {
  if (!right)
    throw UsageError(fmt::format("data pack: {} {}, expected {}", field, found, expected));
}

void check_options(const Tokenizer& tokenizer, const PackOptions& options) {
  expect_usage(options.threads > 0 && options.threads <= 4096, "threads",
               std::to_string(options.threads), "1 to 4096");
  expect_usage(options.val_fraction >= 0 && options.val_fraction < 1, "val_fraction",
               fmt::format("{}", options.val_fraction), "0 or more and less than 1");
  expect_usage(options.shard_tokens > 0 && options.shard_tokens <= (uint64_t{1} << 32),
               "shard_tokens", std::to_string(options.shard_tokens), "1 to 2^32");
  expect_usage(options.read.block_bytes > 0, "block_bytes",
               std::to_string(options.read.block_bytes), "at least 1");
  expect_usage(options.seed < (uint64_t{1} << 52), "seed", std::to_string(options.seed),
               "less than 2^52");
  UM_CHECK(
      tokenizer.eos_id() >= 0,
      "data pack: the tokenizer has no EOS token, and nothing would tell where a document ends; "
      "name one by eos_token in its tokenizer_config.json");
}

/// Reads documents until `bytes` of text are there; false at the end of the corpus.
bool read_wave(CorpusReader& reader, uint64_t bytes, std::vector<Item>& wave) {
  wave.clear();
  uint64_t have = 0;
  std::string text;
  while (have < bytes) {
    if (!reader.next(text)) return false;
    have += text.size();
    wave.push_back({std::move(text), {}, reader.file_index()});
  }
  return true;
}

/// Removes shards that the manifest does not name: those of an earlier corpus or of a killed run.
void remove_old_shards(const fs::path& directory, const Manifest& manifest) {
  const auto named = [&](const std::string& file) {
    for (const SplitInfo* split : {&manifest.train, &manifest.val}) {
      for (const ShardInfo& shard : split->shards) {
        if (shard.file == file) return true;
      }
    }
    return false;
  };
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    const bool ours = file.starts_with("train-") || file.starts_with("val-");
    if (ours && file.ends_with(kShardSuffix) && !named(file)) {
      std::error_code ignored;
      fs::remove(it->path(), ignored);
    }
  }
}

std::vector<SourceInfo> list_sources(const CorpusReader& reader) {
  std::vector<SourceInfo> sources;
  for (const fs::path& path : reader.files()) {
    sources.push_back({path.filename().string(), InputFile(path).size(), 0});
  }
  return sources;
}

/// A document that has a token to predict.
bool predicts(const SplitInfo& split) {
  return split.tokens > split.documents;
}

/// How a corpus gets more documents.
std::string_view way_to_more(const PackOptions& options) {
  const bool records = std::ranges::all_of(list_corpus(options.inputs), is_jsonl);
  if (records || options.read.document == DocumentRule::kLine) return "add texts";
  if (options.read.document == DocumentRule::kParagraph)
    return "add texts, make smaller ones (--document line)";
  return "add texts, make smaller ones (--document line, paragraph, or block with --block-bytes)";
}

/// `distinct`: texts among the documents; 0 where chance held one out.
void warn_of_no_validation(const Manifest& manifest, uint64_t distinct,
                           const PackOptions& options) {
  if (options.val_fraction == 0 || !options.read.warn || predicts(manifest.val)) return;
  const uint64_t documents = manifest.train.documents + manifest.val.documents;
  const bool copies = distinct > 0 && distinct < documents;
  const std::string has = copies
                              ? fmt::format(
                                    "{} documents, {} of them distinct: equal ones are "
                                    "held out together or not at all",
                                    documents, distinct)
                              : fmt::format("{} document{}", documents, documents == 1 ? "" : "s");
  options.read.warn(
      fmt::format("nothing is held out for validation: the corpus has {}; {}{}, or train with "
                  "--log.eval_every 0",
                  has, way_to_more(options), copies ? ", raise --val-fraction" : ""));
}

/// Sends each document to its split. Keeps the last document of each back: where chance held out
/// none, or the only one, another split gets it.
class Splitter {
 public:
  Splitter(const PackOptions& options, uint32_t vocab_size)
      : options_(options), train_("train", options, vocab_size), val_("val", options, vocab_size) {}

  void add(Item&& item) {
    const double hash = options_.val_fraction > 0 ? document_hash(item.text, options_.seed) : 1;
    if (hash < options_.val_fraction) {
      if (held_out_) val_.add(*held_out_);
      held_out_ = std::make_unique<Item>(std::move(item));
      seen_.clear();
      return;
    }
    if (last_) train_.add(*last_);
    if (!held_out_ && options_.val_fraction > 0) copy_ = !seen_.insert(hash).second;
    last_ = std::make_unique<Item>(std::move(item));
  }

  void finish(Manifest& manifest) {
    const bool hold_out = options_.val_fraction > 0 && !held_out_ && !copy_;
    if (last_) (hold_out && train_.documents() > 0 ? val_ : train_).add(*last_);
    const bool only = train_.documents() == 0 && val_.documents() == 0;
    if (held_out_) (only ? train_ : val_).add(*held_out_);
    UM_CHECK(
        train_.documents() > 0,
        "data pack: no document is left for training ({} held out); lower --val-fraction or use "
        "smaller documents",
        val_.documents());
    manifest.train = train_.finish();
    manifest.val = val_.finish();
  }

  uint64_t tokens() const { return train_.tokens() + val_.tokens(); }
  /// Texts of the documents; 0 where chance held one out.
  uint64_t distinct() const { return seen_.size(); }

 private:
  const PackOptions& options_;
  SplitWriter train_, val_;
  std::unique_ptr<Item> last_, held_out_;  // of train and of val
  std::unordered_set<double> seen_;  // hashes of train's documents, until chance holds one out
  bool copy_ = false;                // the last one stands in train already
};

}  // namespace

Manifest pack_corpus(const Tokenizer& tokenizer, const PackOptions& options) {
  check_options(tokenizer, options);
  CorpusReader reader(options.inputs, options.read);
  OutputDirectory output(options.out_dir);
  output.clean();
  Manifest manifest;
  manifest.vocab_size = static_cast<uint32_t>(tokenizer.vocab_size());
  manifest.tokenizer_hash = tokenizer.hash();
  manifest.document = document_rule_name(options.read.document);
  manifest.val_fraction = options.val_fraction;
  manifest.seed = options.seed;
  manifest.sources = list_sources(reader);

  Splitter splitter(options, manifest.vocab_size);
  PackProgress progress{0, reader.bytes_total(), 0, 0};
  const EncodeOptions encode = {.add_bos = tokenizer.add_bos(), .add_eos = true};
  std::vector<Item> wave;
  for (bool more = true; more;) {
    more = read_wave(reader, kWaveBytes * static_cast<uint64_t>(options.threads), wave);
    parallel_for(wave.size(), options.threads,
                 [&](size_t i) { wave[i].tokens = tokenizer.encode(wave[i].text, encode); });
    for (Item& item : wave) {
      if (item.tokens.empty()) continue;
      ++manifest.sources[item.source].documents;
      ++progress.documents;
      progress.tokens += item.tokens.size();
      splitter.add(std::move(item));
    }
    progress.bytes_read = reader.bytes_read();
    if (options.progress) options.progress(progress);
  }
  const std::string others = reader.files().size() > 1
                                 ? fmt::format(" nor in {} more files", reader.files().size() - 1)
                                 : "";
  UM_CHECK(progress.documents > 0, "{}: no text in it{}", reader.files()[0].string(), others);
  splitter.finish(manifest);
  warn_of_no_validation(manifest, splitter.distinct(), options);
  tokenizer.save(options.out_dir);  // training copies it into its checkpoints
  write_file_atomic(options.out_dir / kManifestName, to_text(manifest.json(), 2) + "\n");
  output.keep();
  remove_old_shards(options.out_dir, manifest);
  return manifest;
}

TextSource corpus_source(const std::vector<fs::path>& inputs, const ReadOptions& read,
                         std::function<void(const PackProgress&)> progress) {
  auto reader = std::make_shared<CorpusReader>(inputs, read);
  PackProgress now{0, reader->bytes_total(), 0, 0};
  return
      [reader, progress = std::move(progress), now, told = uint64_t{0}](std::string& text) mutable {
        const bool more = reader->next(text);
        now.documents += more ? 1 : 0;
        now.bytes_read = reader->bytes_read();
        if (progress && (!more || now.bytes_read - told >= (1 << 20))) {
          told = now.bytes_read;
          progress(now);
        }
        return more;
      };
}

}  // namespace um
