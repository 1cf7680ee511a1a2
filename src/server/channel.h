// What the engine's thread has for one HTTP request, until the connection's thread fetches it. The
// engine's side never waits: what is not fetched yet is merged, and a reader who lets too much pile
// up is cut off.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "server/answer_stream.h"

namespace um {

/// What one answer grew by, and at the end how it ended.
struct AnswerUpdate {
  AnswerDelta delta = {};
  std::vector<TokenOutput> tokens = {};  ///< with their logprobs, if the request wants to see them
  int64_t token_count = 0;               ///< generated; also counted where `tokens` is empty
  bool finished = false;
  FinishReason reason = FinishReason::eos;
  RequestStats stats = {};
  std::string error = {}, stop_reason = {};
  int64_t reasoning_tokens = 0;
  bool called_tools = false;
};

class Channel {
 public:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    size_t answer;
    AnswerUpdate update;
  };

  /// For so many answers, of which at most about `max_bytes` wait to be fetched.
  Channel(size_t answers, size_t max_bytes);

  /// The engine's side. False if nobody wants more.
  bool add(size_t answer, AnswerUpdate&& update);

  /// The reader's side: waits until there is something or `until`; empty at the end of the time.
  std::vector<Entry> fetch(Clock::time_point until);
  /// Nobody fetches any more.
  void close();
  /// True once the reader was too slow.
  bool overflowed() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<AnswerUpdate> waiting_;
  std::vector<bool> has_;
  size_t bytes_ = 0, max_bytes_;
  bool closed_ = false, overflowed_ = false;
};

}  // namespace um
