// See loader.h.
#include "data/loader.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "text/tokenizer_hash.h"

namespace um {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 52;
constexpr uint64_t kOnePassKey = 0x76616c;

void check_options(const LoaderOptions& options) {
  UM_CHECK(!options.sources.empty(), "loader: no corpora");
  UM_CHECK(options.batch > 0 && options.seq_len > 0 && options.batch <= kMaxCount / options.seq_len,
           "loader: batch {} and seq_len {}, expected positive numbers", options.batch,
           options.seq_len);
  UM_CHECK(options.world > 0 && options.rank >= 0 && options.rank < options.world,
           "loader: rank {} of {}", options.rank, options.world);
  UM_CHECK(options.seed < (uint64_t{1} << 52), "loader: seed {}, expected less than 2^52",
           options.seed);
  for (const SourceOptions& source : options.sources) {
    UM_CHECK(std::isfinite(source.weight) && source.weight > 0,
             "loader: weight {} of {}, expected more than 0", source.weight,
             source.directory.string());
  }
}

}  // namespace

Loader::Loader(LoaderOptions options) : options_(std::move(options)) {
  check_options(options_);
  for (const SourceOptions& source : options_.sources) datasets_.emplace_back(source.directory);
  for (size_t s = 0; s < datasets_.size(); ++s) {
    require_same_tokenizer(datasets_[s].tokenizer_hash(), datasets_[s].directory().string(),
                           tokenizer_hash(), datasets_[0].directory().string(),
                           "pack them with one tokenizer");
    index_source(datasets_[s], options_.sources[s].weight);
  }
}

void Loader::index_source(const Dataset& dataset, double weight) {
  Source source;
  source.weight = weight;
  source.first_chunk.push_back(0);
  const auto seq_len = static_cast<uint64_t>(options_.seq_len);
  for (const TokenShard& shard : dataset.shards(options_.val)) {
    source.first_document.push_back(source.first_chunk.size() - 1);
    for (uint64_t d = 0; d < shard.documents(); ++d) {
      const uint64_t inputs = shard.length(d) - 1;
      source.first_chunk.push_back(source.first_chunk.back() + (inputs + seq_len - 1) / seq_len);
    }
  }
  UM_CHECK(
      source.chunks() > 0, "{}: the {} split has no document of two tokens or more{}",
      dataset.directory().string(), options_.val ? "val" : "train",
      options_.val
          ? "; data pack said why when the corpus was packed: pack it so that some are held out,"
            " or train without validation (--log.eval_every 0)"
          : "");
  sources_.push_back(std::move(source));
}

size_t Loader::furthest_behind() const {
  size_t best = 0;
  const auto share = [&](size_t s) {
    return static_cast<double>(sources_[s].drawn) / sources_[s].weight;
  };
  for (size_t s = 1; s < sources_.size(); ++s) {
    if (share(s) < share(best)) best = s;
  }
  return best;
}

/// Chooses the next chunk; false at the end of one pass.
bool Loader::open_chunk() {
  size_t s = 0;
  if (options_.one_pass) {
    while (s < sources_.size() && sources_[s].epoch > 0) ++s;
    if (s == sources_.size()) return false;
  } else {
    s = furthest_behind();
  }
  Source& source = sources_[s];
  const uint64_t key =
      options_.one_pass ? kOnePassKey : mix64(mix64(options_.seed) + s) + source.epoch;
  current_ = {true, s, Permutation(source.chunks(), key)(source.cursor), 0};
  if (++source.cursor == source.chunks()) {
    source.cursor = 0;
    ++source.epoch;
  }
  return true;
}

/// Appends the open chunk, or as much of it as there is room for.
void Loader::put_chunk(Batch& batch, uint64_t room) {
  Source& source = sources_[current_.source];
  const auto after = std::upper_bound(source.first_chunk.begin(), source.first_chunk.end(),
                                      current_.chunk);  // documents of one token have no chunks
  const auto document = static_cast<uint64_t>(after - source.first_chunk.begin()) - 1;
  const auto shard_after =
      std::upper_bound(source.first_document.begin(), source.first_document.end(), document);
  const auto shard_index = static_cast<size_t>(shard_after - source.first_document.begin()) - 1;
  const TokenShard& shard = datasets_[current_.source].shards(options_.val)[shard_index];
  const uint64_t in_shard = document - source.first_document[shard_index];

  const auto seq_len = static_cast<uint64_t>(options_.seq_len);
  const uint64_t begin = (current_.chunk - source.first_chunk[document]) * seq_len;
  const uint64_t length = std::min(seq_len, shard.length(in_shard) - 1 - begin);
  UM_CHECK(current_.done < length, "loader: state: {} tokens of a chunk of {} are done",
           current_.done, length);
  const uint64_t count = std::min(room, length - current_.done);
  scratch_.clear();
  shard.read(in_shard, begin + current_.done, count + 1, scratch_);
  batch.tokens.insert(batch.tokens.end(), scratch_.begin(), scratch_.end() - 1);
  batch.targets.insert(batch.targets.end(), scratch_.begin() + 1, scratch_.end());
  for (uint64_t i = 0; i < count; ++i) batch.positions.push_back(static_cast<int32_t>(i));
  batch.seq_offsets.push_back(batch.size());
  source.drawn += count;
  current_.done += count;
  current_.open = current_.done < length;
}

/// The next batch of the stream, whoever's it is; false at the end of one pass.
bool Loader::fill(Batch& batch) {
  batch.tokens.clear();
  batch.targets.clear();
  batch.positions.clear();
  batch.weights.clear();
  batch.routes.clear();
  batch.seq_offsets.assign(1, 0);
  const int64_t wanted = options_.batch * options_.seq_len;
  while (batch.size() < wanted && (current_.open || open_chunk())) {
    put_chunk(batch, static_cast<uint64_t>(wanted - batch.size()));
  }
  return batch.size() > 0;
}

bool Loader::next(Batch& batch) {
  for (int64_t r = 0; r < options_.rank; ++r) {
    if (!fill(batch)) return false;
  }
  const bool filled = fill(batch);
  Batch others;
  for (int64_t r = options_.rank + 1; filled && r < options_.world; ++r) fill(others);
  return filled;
}

void Loader::rewind() {
  for (Source& source : sources_) source.epoch = source.cursor = source.drawn = 0;
  current_ = {};
}

SourceDescription Loader::describe() const {
  SourceDescription all{.vocab_size = vocab_size(),
                        .tokenizer_hash = tokenizer_hash(),
                        .origin = datasets_[0].directory().string(),
                        .unigram_entropy = datasets_[0].manifest().val.unigram_entropy};
  double bytes = 0, tokens = 0, targets = 0;  // of the validation texts
  for (const Dataset& dataset : datasets_) {
    const Manifest& m = dataset.manifest();
    bytes += static_cast<double>(m.val.text_bytes);
    tokens += static_cast<double>(m.val.tokens);
    targets += static_cast<double>(m.val.tokens - m.val.documents);
    for (const SourceInfo& source : m.sources)
      all.facts.emplace_back("Text", fmt::format("{} ({:.1f} MB)", source.name,
                                                 static_cast<double>(source.file_bytes) / 1e6));
    all.facts.emplace_back("Training tokens", fmt::format("{:L}", m.train.tokens));
    all.facts.emplace_back("Held-out tokens", fmt::format("{:L}", m.val.tokens));
    all.facts.emplace_back("Tokenizer",
                           fmt::format("{} tokens, {}", m.vocab_size, dataset.tokenizer_hash()));
  }
  if (tokens > 0) all.bytes_per_token = bytes / tokens;
  if (targets > 0) all.bytes_per_target = bytes / targets;
  return all;
}

std::string Loader::fingerprint() const {
  std::string all;
  for (const Dataset& dataset : datasets_) all += (all.empty() ? "" : "-") + dataset.hash();
  return all;
}

Json Loader::state() const {
  Json sources = Json::array();
  for (const Source& source : sources_) {
    sources.push_back(
        {{"epoch", source.epoch}, {"cursor", source.cursor}, {"drawn", source.drawn}});
  }
  Json state = {{"corpora", fingerprint()}, {"seed", options_.seed}, {"seq_len", options_.seq_len},
                {"val", options_.val},      {"sources", sources},    {"chunk", nullptr}};
  if (current_.open) {
    state["chunk"] = {
        {"source", current_.source}, {"chunk", current_.chunk}, {"done", current_.done}};
  }
  return state;
}

void Loader::restore(const Json& state) {
  const JsonObject object(state, "loader state");
  const std::string corpora = object.string("corpora");
  UM_CHECK(corpora == fingerprint(),
           "loader state: saved with corpora {}, but these are {}; resume with the same data",
           quote(corpora), fingerprint());
  object.integer("seed", static_cast<int64_t>(options_.seed), static_cast<int64_t>(options_.seed));
  object.integer("seq_len", options_.seq_len, options_.seq_len);
  UM_CHECK(object.boolean("val") == options_.val, "loader state: of the other split");
  const Json* list = object.find("sources");
  if (list == nullptr || !list->is_array() || list->size() != sources_.size()) {
    object.wrong("sources", fmt::format("an array of {}", sources_.size()));
  }
  std::vector<Source> sources = sources_;
  for (size_t s = 0; s < sources.size(); ++s) {
    const JsonObject saved((*list)[s], fmt::format("loader state: sources[{}]", s));
    const auto last = static_cast<int64_t>(sources[s].chunks()) - 1;
    sources[s].epoch = static_cast<uint64_t>(saved.integer("epoch", 0, kMaxCount));
    sources[s].cursor = static_cast<uint64_t>(saved.integer("cursor", 0, last));
    sources[s].drawn = static_cast<uint64_t>(saved.integer("drawn", 0, kMaxCount));
  }
  Chunk current;
  if (object.has("chunk")) {
    const JsonObject saved = object.object("chunk");
    const auto last = static_cast<int64_t>(sources.size()) - 1;
    current.open = true;
    current.source = static_cast<size_t>(saved.integer("source", 0, last));
    const auto chunks = static_cast<int64_t>(sources[current.source].chunks());
    current.chunk = static_cast<uint64_t>(saved.integer("chunk", 0, chunks - 1));
    current.done = static_cast<uint64_t>(saved.integer("done", 0, options_.seq_len - 1));
  }
  sources_ = std::move(sources);
  current_ = current;
}

double Loader::epochs(size_t s) const {
  UM_CHECK(s < sources_.size(), "loader: source {} of {}", s, sources_.size());
  const Source& source = sources_[s];
  return static_cast<double>(source.epoch) +
         static_cast<double>(source.cursor) / static_cast<double>(source.chunks());
}

uint64_t Loader::tokens() const {
  uint64_t total = 0;
  for (const Source& source : sources_) total += source.drawn;
  return total;
}

}  // namespace um
