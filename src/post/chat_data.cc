// See chat_data.h.
#include "post/chat_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/checksum.h"
#include "core/error.h"
#include "core/rng.h"
#include "data/permutation.h"

namespace um {
namespace {

constexpr size_t kQuestions = 3;
constexpr uint64_t kSplitStream = 0x73706c6974;

/// The tokens that a sample's sequence reads.
int64_t inputs(const ChatSample& sample) {
  return static_cast<int64_t>(sample.tokens.size()) - 1;
}

int64_t total_tokens(const std::vector<ChatSample>& samples) {
  return std::accumulate(samples.begin(), samples.end(), int64_t{0},
                         [](int64_t sum, const ChatSample& one) { return sum + inputs(one); });
}

int64_t total_learnt(const std::vector<ChatSample>& samples) {
  return std::accumulate(samples.begin(), samples.end(), int64_t{0},
                         [](int64_t sum, const ChatSample& s) { return sum + s.learnt_tokens(); });
}

/// Whether a record validates: by what it says, so that equal ones are on one side.
bool is_held_out(const Record& record, double share) {
  const auto* chat = std::get_if<ChatRecord>(&record);
  const auto* plain = std::get_if<PlainRecord>(&record);
  const std::string text = chat != nullptr ? chat->body.dump() : plain->prompt + plain->completion;
  const RandomStream random(hash_name(text), kSplitStream);
  return random.uniform(0) < share;
}

/// The first thing that the user says; empty if there is nothing.
std::string first_question(const Record& record) {
  const auto* chat = std::get_if<ChatRecord>(&record);
  if (chat == nullptr) return {};
  for (const OrderedJson& message : chat->body["messages"])
    if (message["role"] == "user" && message.contains("content") && message["content"].is_string())
      return message["content"].get<std::string>();
  return {};
}

bool has_thinking(const Record& record) {
  const auto* chat = std::get_if<ChatRecord>(&record);
  return chat != nullptr && std::ranges::any_of(chat->body["messages"], [](const auto& message) {
           return message.contains("reasoning_content") || message.contains("reasoning") ||
                  message.contains("thinking");
         });
}

std::string fingerprint_of(const std::vector<ChatFile>& files) {
  uint64_t hash = 0;
  const auto add = [&](uint64_t value) { hash = mix64(hash ^ value); };
  for (const ChatFile& file : files)
    for (const auto* samples : {&file.train, &file.valid}) {
      add(samples->size());
      for (const ChatSample& sample : *samples) {
        add(crc32_of(std::as_bytes(std::span(sample.tokens))));
        add(crc32_of(std::as_bytes(std::span(sample.learnt))));
      }
    }
  return fmt::format("chat-{:016x}", hash);
}

void check_options(const ChatDataOptions& options) {
  if (options.path.empty())
    throw UsageError("data.path: name at least one file of conversations (.jsonl or .json)");
  if (!options.weights.empty() && options.weights.size() != options.path.size())
    throw UsageError(fmt::format("data.weights: expected one for each of {} files, found {}",
                                 options.path.size(), options.weights.size()));
  if (std::ranges::any_of(options.weights, [](double weight) { return weight <= 0; }))
    throw UsageError("data.weights: expected shares above 0; leave out a file that has none");
  for (const std::string& path : options.valid)
    if (std::ranges::find(options.path, path) != options.path.end())
      throw UsageError(fmt::format("data.valid: {} is in data.path, too", path));
}

}  // namespace

ChatData::ChatData(const ChatDataOptions& options, const ChatTokens& tokens, int64_t seq_len,
                   const std::function<void(int64_t)>& progress)
    : seq_len_(seq_len) {
  check_options(options);
  for (const std::string& path : options.path)
    read_file(path, options, tokens, seq_len, false, progress);
  for (const std::string& path : options.valid)
    read_file(path, options, tokens, seq_len, true, progress);
  int64_t all = 0, learnt = 0;
  for (size_t i = 0; i < files_.size(); ++i) {
    const int64_t here = total_tokens(files_[i].train);
    files_[i].weight = i < options.weights.size() ? options.weights[i] : static_cast<double>(here);
    all += here;
    learnt += total_learnt(files_[i].train);
  }
  UM_CHECK(all > 0, "no conversation is left to train on: {}{}", summary().front(),
           files_[0].left_out.empty() ? "" : "; the first: " + files_[0].left_out[0]);
  if (questions_.empty()) questions_ = trained_questions_;
  fingerprint_ = fingerprint_of(files_);
  description_ = {.vocab_size = tokens.tokenizer().vocab_size(),
                  .tokenizer_hash = tokens.tokenizer().hash(),
                  .origin = options.path[0]};
  for (const std::string& line : summary()) description_.facts.emplace_back("Conversations", line);
  description_.facts.emplace_back("Training tokens", fmt::format("{:L}, {:L} learnt", all, learnt));
}

void ChatData::read_file(const std::string& path, const ChatDataOptions& options,
                         const ChatTokens& tokens, int64_t seq_len, bool valid,
                         const std::function<void(int64_t)>& progress) {
  ChatFile& file = files_.emplace_back();
  file.name = path;
  seq_len_ = seq_len;
  const auto bad = [&](const std::string& message) {
    ++file.records;
    if (options.on_bad == "stop")
      fail("{}; with data.on_bad = skip such records are left out and listed", message);
    file.left_out.push_back(message);
  };
  const auto visit = [&](const OrderedJson& json, const std::string& where) {
    std::vector<ChatSample> samples;
    std::string question;
    bool held_out = valid;
    try {
      Record record = read_record(json);
      if (auto* chat = std::get_if<ChatRecord>(&record); chat && options.answers == "last")
        chat->keep_last();
      samples = tokens.samples(record);
      held_out = valid || (options.valid.empty() && is_held_out(record, options.hold_out));
      question = first_question(record);
      if (!tokens.form().can_think() && has_thinking(record)) ++file.unthought;
    } catch (const std::exception& error) {
      return bad(fmt::format("{}: {}", where, error.what()));
    }
    ++file.records;
    const std::vector<ChatSample>& kept = held_out ? file.valid : file.train;
    const size_t before = kept.size();
    add(file, std::move(samples), options, where, held_out);
    std::vector<std::string>& asked = held_out ? questions_ : trained_questions_;
    if (kept.size() > before && asked.size() < kQuestions && !question.empty())
      asked.push_back(question);
    if (progress) progress(file.records);
  };
  for_each_record(path, visit, bad);
}

void ChatData::add(ChatFile& file, std::vector<ChatSample> samples, const ChatDataOptions& options,
                   const std::string& where, bool valid) {
  for (ChatSample& sample : samples) {
    if (inputs(sample) > seq_len_) {
      if (options.too_long == "stop")
        fail("{}: {} tokens, more than train.seq_len {}", where, inputs(sample), seq_len_);
      ++file.too_long;
      if (options.too_long == "skip") continue;
      sample.tokens.resize(static_cast<size_t>(seq_len_) + 1);
      sample.learnt.resize(sample.tokens.size());
    }
    sample.learnt[0] = 0;  // nothing predicts it
    if (sample.learnt_tokens() > 0) (valid ? file.valid : file.train).push_back(std::move(sample));
  }
}

std::vector<std::string> ChatData::summary() const {
  std::vector<std::string> lines;
  for (const ChatFile& file : files_) {
    std::string line = fmt::format("{}: {} records", file.name, file.records);
    for (const auto& [samples, what] : {std::pair(&file.train, "train"), {&file.valid, "held out"}})
      if (!samples->empty())
        line += fmt::format("; {}: {} samples, {} tokens, {} of them learnt", what, samples->size(),
                            total_tokens(*samples), total_learnt(*samples));
    if (file.too_long > 0)
      line += fmt::format("; {} longer than {} tokens", file.too_long, seq_len_);
    if (file.unthought > 0)
      line += fmt::format("; the thinking of {} is not learnt: the template knows of none",
                          file.unthought);
    if (!file.left_out.empty()) line += fmt::format("; {} left out", file.left_out.size());
    lines.push_back(line);
  }
  return lines;
}

SourceDescription ChatData::describe() const {
  return description_;
}

ChatStream::ChatStream(std::shared_ptr<const ChatData> data, const ChatStreamOptions& options)
    : data_(std::move(data)), options_(options) {
  const bool held_out = options_.held_out_file >= 0;
  for (size_t i = 0; i < data_->files().size(); ++i) {
    const ChatFile& file = data_->files()[i];
    if (held_out && static_cast<int64_t>(i) != options_.held_out_file) continue;
    const std::vector<ChatSample>& samples = held_out ? file.valid : file.train;
    if (!samples.empty()) places_.push_back({.samples = &samples, .weight = file.weight});
    for (const ChatSample& sample : samples)
      UM_CHECK(inputs(sample) <= options_.batch * options_.seq_len,
               "{}: a conversation of {} tokens, a batch has room for {} × {}", file.name,
               inputs(sample), options_.batch, options_.seq_len);
  }
}

/// The file whose tokens are furthest below their share; of what is held out the first that is not
/// done. Null at the end.
ChatStream::Place* ChatStream::furthest_behind() {
  Place* best = nullptr;
  const auto share = [](const Place& place) {
    return static_cast<double>(place.drawn) / place.weight;
  };
  for (Place& place : places_) {
    if (options_.held_out_file >= 0 && place.epoch > 0) continue;
    if (best == nullptr || share(place) < share(*best)) best = &place;
  }
  return best;
}

/// Those of the next batch; none at the end.
std::vector<const ChatSample*> ChatStream::next_samples() {
  std::vector<const ChatSample*> chosen;
  int64_t room = options_.batch * options_.seq_len;
  while (Place* place = furthest_behind()) {
    const auto key =
        mix64(mix64(options_.seed) + static_cast<uint64_t>(place - places_.data())) + place->epoch;
    const Permutation order(place->samples->size(), key);
    const ChatSample& sample = (*place->samples)[order(place->cursor)];
    if (inputs(sample) > room) break;
    room -= inputs(sample);
    chosen.push_back(&sample);
    place->drawn += static_cast<uint64_t>(inputs(sample));
    if (++place->cursor < place->samples->size()) continue;
    place->cursor = 0;
    ++place->epoch;
  }
  return chosen;
}

bool ChatStream::next(Batch& batch) {
  batch = {};
  batch.seq_offsets.assign(1, 0);
  for (const ChatSample* sample : next_samples()) {
    for (size_t i = 0; i + 1 < sample->tokens.size(); ++i) {
      batch.tokens.push_back(sample->tokens[i]);
      batch.targets.push_back(sample->learnt[i + 1] != 0 ? sample->tokens[i + 1] : -1);
      batch.positions.push_back(static_cast<int32_t>(i));
    }
    batch.seq_offsets.push_back(batch.size());
  }
  return batch.size() > 0;
}

int64_t ChatStream::batches_of(double epochs) const {
  constexpr double kCounted = 8;  // passes; more are as these are on average
  if (epochs > kCounted)
    return std::llround(std::ceil(static_cast<double>(batches_of(kCounted)) * epochs / kCounted));
  ChatStream copy(data_, options_);
  double wanted = 0, drawn = 0;
  for (const Place& place : copy.places_)
    wanted += epochs * static_cast<double>(total_tokens(*place.samples));
  int64_t batches = 0;
  for (; drawn < wanted; ++batches)
    for (const ChatSample* sample : copy.next_samples())
      drawn += static_cast<double>(inputs(*sample));
  return batches;
}

Json ChatStream::state() const {
  Json files = Json::array();
  for (const Place& place : places_)
    files.push_back({{"epoch", place.epoch}, {"cursor", place.cursor}, {"drawn", place.drawn}});
  return {{"corpora", data_->fingerprint()},
          {"seed", options_.seed},
          {"seq_len", options_.seq_len},
          {"files", files}};
}

void ChatStream::restore(const Json& state) {
  constexpr int64_t kMaxCount = int64_t{1} << 52;
  const JsonObject object(state, "stream of conversations");
  UM_CHECK(object.string("corpora") == data_->fingerprint(),
           "stream of conversations: saved with {}, but these are {}; go on with the same files",
           quote(object.string("corpora")), data_->fingerprint());
  object.integer("seed", static_cast<int64_t>(options_.seed), static_cast<int64_t>(options_.seed));
  const Json* list = object.find("files");
  if (list == nullptr || !list->is_array() || list->size() != places_.size())
    object.wrong("files", fmt::format("an array of {}", places_.size()));
  std::vector<Place> places = places_;
  for (size_t i = 0; i < places.size(); ++i) {
    const JsonObject saved((*list)[i], fmt::format("stream of conversations: files[{}]", i));
    const auto last = static_cast<int64_t>(places[i].samples->size()) - 1;
    places[i].epoch = static_cast<uint64_t>(saved.integer("epoch", 0, kMaxCount));
    places[i].cursor = static_cast<uint64_t>(saved.integer("cursor", 0, last));
    places[i].drawn = static_cast<uint64_t>(saved.integer("drawn", 0, kMaxCount));
  }
  places_ = std::move(places);
}

}  // namespace um
