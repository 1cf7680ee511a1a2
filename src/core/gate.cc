// See gate.h.
#include "core/gate.h"

#include <chrono>

#include "core/stop_scope.h"

namespace um {

Gate::Pass::Pass(Gate& gate) : gate_(gate) {
  constexpr std::chrono::milliseconds kBetweenQuestions(50);
  std::unique_lock lock(gate_.mutex_);
  while (!gate_.left_.wait_for(lock, kBetweenQuestions, [&] { return gate_.free_ > 0; })) {
    lock.unlock();
    check_stop_now();
    lock.lock();
  }
  --gate_.free_;
}

Gate::Pass::~Pass() {
  {
    const std::lock_guard lock(gate_.mutex_);
    ++gate_.free_;
  }
  gate_.left_.notify_one();
}

}  // namespace um
