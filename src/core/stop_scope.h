// Work for somebody who may stop waiting: a client that hangs up, a process that is told to end.
// Whoever begins such work says how to find out; whatever takes long asks as it goes on. The same
// questions count the work, where somebody limits it.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "core/error.h"

namespace um {

/// Thrown by check_stop(). No Error: nothing went wrong, and nobody on the way has more to say.
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "the work was stopped"; }
};

/// While it lives, the thread's work ends by Stopped once `stopped` says so.
class StopScope {
 public:
  explicit StopScope(std::function<bool()> stopped)
      : stopped_(std::move(stopped)), outer_(std::exchange(innermost, this)) {}
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;
  ~StopScope() { innermost = outer_; }

 private:
  friend inline void check_stop(uint64_t steps);
  friend inline void check_stop_now();
  static constexpr uint64_t kSteps = 4096;  // between two questions
  static inline constinit thread_local StopScope* innermost = nullptr;

  std::function<bool()> stopped_;
  StopScope* outer_;
  uint64_t steps_ = 0;
};

/// While it lives, the thread's work ends by UsageError `message` after `limit` steps, or with more
/// than `max_bytes` of what count_memory() has been told of. Both are counted, not measured, so the
/// same work always ends the same way.
class WorkScope {
 public:
  WorkScope(uint64_t limit, uint64_t max_bytes, std::string message)
      : limit_(limit),
        max_bytes_(max_bytes),
        message_(std::move(message)),
        outer_(std::exchange(innermost, this)) {}
  WorkScope(const WorkScope&) = delete;
  WorkScope& operator=(const WorkScope&) = delete;
  ~WorkScope() { innermost = outer_; }

  uint64_t steps() const { return steps_; }
  uint64_t bytes() const { return bytes_; }

 private:
  friend inline void check_stop(uint64_t steps);
  friend inline void count_memory(uint64_t bytes);
  static inline constinit thread_local WorkScope* innermost = nullptr;

  uint64_t limit_, max_bytes_;
  std::string message_;
  WorkScope* outer_;
  uint64_t steps_ = 0, bytes_ = 0;
};

/// Throws Stopped if nobody waits any more.
inline void check_stop_now() {
  const StopScope* const scope = StopScope::innermost;
  if (scope != nullptr && scope->stopped_()) throw Stopped();
}

/// After `steps` of work, each of at most a microsecond. Throws Stopped,
/// and UsageError when the work of a WorkScope is used up.
inline void check_stop(uint64_t steps = 1) {
  WorkScope* const work = WorkScope::innermost;
  if (work != nullptr && (work->steps_ += steps) > work->limit_) throw UsageError(work->message_);
  StopScope* const scope = StopScope::innermost;
  if (scope == nullptr || (scope->steps_ += steps) < StopScope::kSteps) return;
  scope->steps_ = 0;
  check_stop_now();
}

/// For so many bytes, about, that are kept until the work is done. Throws UsageError when they are
/// more than the WorkScope allows.
inline void count_memory(uint64_t bytes) {
  WorkScope* const work = WorkScope::innermost;
  if (work != nullptr && (work->bytes_ += bytes) > work->max_bytes_)
    throw UsageError(work->message_);
}

}  // namespace um
