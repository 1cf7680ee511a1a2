// See channel.h.
#include "server/channel.h"

#include <iterator>

namespace um {
namespace {

size_t bytes_of(const AnswerUpdate& update) {
  size_t bytes = update.delta.reasoning.size() + update.delta.content.size();
  for (const ToolCallDelta& call : update.delta.calls)
    bytes += call.name.size() + call.arguments.size() + sizeof(call);
  for (const TokenOutput& token : update.tokens)
    bytes += sizeof(token) + token.top.size() * sizeof(TokenLogprob);
  return bytes;
}

/// `into` becomes both, one after the other.
void merge(AnswerUpdate& into, AnswerUpdate&& later) {
  AnswerDelta delta = std::move(into.delta);
  std::vector<TokenOutput> tokens = std::move(into.tokens);
  const int64_t count = into.token_count + later.token_count;
  delta.append(std::move(later.delta));
  tokens.insert(tokens.end(), std::make_move_iterator(later.tokens.begin()),
                std::make_move_iterator(later.tokens.end()));
  into = std::move(later);
  into.delta = std::move(delta);
  into.tokens = std::move(tokens);
  into.token_count = count;
}

}  // namespace

Channel::Channel(size_t answers, size_t max_bytes)
    : waiting_(answers), has_(answers), max_bytes_(max_bytes) {}

bool Channel::add(size_t answer, AnswerUpdate&& update) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  bytes_ += bytes_of(update);
  if (has_[answer])
    merge(waiting_[answer], std::move(update));
  else
    waiting_[answer] = std::move(update);
  has_[answer] = true;
  if (bytes_ > max_bytes_) closed_ = overflowed_ = true;
  ready_.notify_one();
  return !closed_;
}

std::vector<Channel::Entry> Channel::fetch(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  const auto some = [&] {
    for (const bool has : has_)
      if (has) return true;
    return overflowed_;
  };
  ready_.wait_until(lock, until, some);
  std::vector<Entry> entries;
  for (size_t i = 0; i < has_.size(); ++i) {
    if (!has_[i]) continue;
    entries.push_back({i, std::exchange(waiting_[i], {})});
    has_[i] = false;
  }
  bytes_ = 0;
  return entries;
}

void Channel::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

bool Channel::overflowed() const {
  std::lock_guard lock(mutex_);
  return overflowed_;
}

}  // namespace um
