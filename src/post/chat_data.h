// Conversations in memory, ready to train on: read, tokenized, split, shuffled and packed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/batch_source.h"
#include "post/chat_tokens.h"
#include "train/options.h"

namespace um {

/// What one file gave. Five bytes a token.
struct ChatFile {
  std::string name;
  double weight = 0;  ///< share of tokens
  std::vector<ChatSample> train = {}, valid = {};
  int64_t records = 0;
  int64_t unthought = 0;                   ///< records whose thinking this model has no marks for
  int64_t too_long = 0;                    ///< samples of more than seq_len tokens
  std::vector<std::string> left_out = {};  ///< a line for each record that could not be read
};

class ChatData {
 public:
  /// Reads the files that `options` name; samples have at most `seq_len` tokens to read and one
  /// behind them. Throws Error for a file that cannot be read, a bad record or a long conversation
  /// where these are to stop the run (with its place), and where nothing is left to train on;
  /// UsageError for options that contradict each other. `progress` hears the number of records.
  ChatData(const ChatDataOptions& options, const ChatTokens& tokens, int64_t seq_len,
           const std::function<void(int64_t)>& progress = {});

  const std::vector<ChatFile>& files() const { return files_; }
  /// Identifies all samples in their order.
  const std::string& fingerprint() const { return fingerprint_; }
  /// "FILE: 1,203 records, 98,112 tokens, of them 40,100 to learn; …", for each file.
  std::vector<std::string> summary() const;
  /// The first questions of what is held out, else of what is trained on: for the report's samples.
  const std::vector<std::string>& questions() const { return questions_; }
  SourceDescription describe() const;

 private:
  void read_file(const std::string& path, const ChatDataOptions& options, const ChatTokens& tokens,
                 int64_t seq_len, bool valid, const std::function<void(int64_t)>& progress);
  void add(ChatFile& file, std::vector<ChatSample> samples, const ChatDataOptions& options,
           const std::string& where, bool valid);

  std::vector<ChatFile> files_;
  int64_t seq_len_ = 0;
  std::string fingerprint_;
  std::vector<std::string> questions_, trained_questions_;
  SourceDescription description_;
};

struct ChatStreamOptions {
  int64_t batch = 8, seq_len = 512;  ///< a batch has at most batch × seq_len tokens
  uint64_t seed = 1;
  int64_t held_out_file =
      -1;  ///< one pass over what this file holds out; -1: what trains, for ever
};

/// Whole samples, one sequence each, as many as there is room for: they do not see each other, and
/// none is cut. Each pass over a file is in another order, fixed by seed and pass.
class ChatStream : public BatchSource {
 public:
  /// Throws Error for a longest sample that no batch has room for.
  ChatStream(std::shared_ptr<const ChatData> data, const ChatStreamOptions& options);

  bool next(Batch& batch) override;
  Json state() const override;
  void restore(const Json& state) override;
  SourceDescription describe() const override { return data_->describe(); }

  /// The number of batches until each token was learnt `epochs` times on average, from the first.
  int64_t batches_of(double epochs) const;

 private:
  /// Where a file stands.
  struct Place {
    const std::vector<ChatSample>* samples = nullptr;
    double weight = 1;
    uint64_t epoch = 0, cursor = 0;  ///< samples taken = epoch × their number + cursor
    uint64_t drawn = 0;              ///< tokens taken
  };
  std::vector<const ChatSample*> next_samples();
  Place* furthest_behind();

  std::shared_ptr<const ChatData> data_;
  ChatStreamOptions options_;
  std::vector<Place> places_;
};

}  // namespace um
