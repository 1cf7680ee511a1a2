// See response_store.h.
#include "server/response_store.h"

#include <algorithm>
#include <utility>

namespace um {
namespace {

/// About how much memory a value takes: its texts, and what each value needs beside that.
size_t memory_of(const OrderedJson& json) {
  constexpr size_t kValue = 64;
  if (json.is_string()) return kValue + json.get_ref<const std::string&>().size();
  size_t bytes = kValue;
  if (json.is_object())
    for (const auto& [key, value] : json.items()) bytes += kValue + key.size() + memory_of(value);
  if (json.is_array())
    for (const OrderedJson& value : json) bytes += memory_of(value);
  return bytes;
}

}  // namespace

StoredJson::StoredJson(OrderedJson json, size_t more, std::shared_ptr<std::atomic<size_t>> meter)
    : json_(std::move(json)), bytes_(memory_of(json_) + more), meter_(std::move(meter)) {
  *meter_ += bytes_;
}

StoredJson::~StoredJson() {
  *meter_ -= bytes_;
}

ResponseStore::ResponseStore(size_t max_count, size_t max_bytes)
    : max_count_(max_count), max_bytes_(max_bytes) {}

void ResponseStore::put(const OrderedJson& response, const OrderedJson& input, Turns history) {
  const std::string id = response["id"];
  OrderedJson items = input;
  for (const OrderedJson& item : response["output"]) items.push_back(item);
  const size_t list = (history.size() + 1) * sizeof(Turns::value_type);
  history.push_back(std::make_shared<const StoredJson>(std::move(items), 0, bytes_));
  const std::shared_ptr<const StoredResponse> stored(
      new StoredResponse{{response, list, bytes_}, std::move(history), input.size()});
  const std::lock_guard lock(mutex_);
  responses_[id] = stored;
  ids_.push_back(id);
  // What goes may be part of later conversations, and only then is free when these go too.
  while (!ids_.empty() && (ids_.size() > max_count_ || *bytes_ > max_bytes_)) {
    responses_.erase(ids_.front());
    ids_.pop_front();
  }
}

std::shared_ptr<const StoredResponse> ResponseStore::get(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = responses_.find(id);
  return found == responses_.end() ? nullptr : found->second;
}

bool ResponseStore::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (responses_.erase(id) == 0) return false;
  ids_.erase(std::ranges::find(ids_, id));
  return true;
}

}  // namespace um
