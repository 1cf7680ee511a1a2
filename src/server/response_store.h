// The responses of the Responses API that later requests may go on from, in memory: the newest
// ones, within a bound of count and bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/keyed_hash.h"
#include "text/jinja.h"

namespace um {

/// A JSON value whose memory counts while it lives.
class StoredJson {
 public:
  /// `more`: bytes that count with it.
  StoredJson(OrderedJson json, size_t more, std::shared_ptr<std::atomic<size_t>> meter);
  StoredJson(const StoredJson&) = delete;
  ~StoredJson();
  const OrderedJson& json() const { return json_; }

 private:
  OrderedJson json_;
  size_t bytes_;
  std::shared_ptr<std::atomic<size_t>> meter_;
};

/// A conversation: the items of each request and of the answer to it, oldest first. Conversations
/// that begin alike share them.
using Turns = std::vector<std::shared_ptr<const StoredJson>>;

struct StoredResponse {
  StoredJson response;
  Turns turns;    ///< up to its own output
  size_t inputs;  ///< so many items of the last turn are the request's
};

/// For any thread.
class ResponseStore {
 public:
  ResponseStore(size_t max_count, size_t max_bytes);

  /// Whether anything is kept at all.
  bool keeps() const { return max_count_ > 0; }
  /// Keeps a response by its id, with the items of its request. Where there are too many, the
  /// oldest ones go.
  void put(const OrderedJson& response, const OrderedJson& input, Turns history);
  /// Null where there is none (any more).
  std::shared_ptr<const StoredResponse> get(const std::string& id) const;
  /// False if there was none.
  bool remove(const std::string& id);

 private:
  size_t max_count_, max_bytes_;
  std::shared_ptr<std::atomic<size_t>> bytes_ = std::make_shared<std::atomic<size_t>>(0);
  mutable std::mutex mutex_;
  NameMap<std::shared_ptr<const StoredResponse>> responses_;
  std::deque<std::string> ids_;  // oldest first
};

}  // namespace um
