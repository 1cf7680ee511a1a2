// Gate: so many threads at once may do what takes much memory; the others wait for their turn.
#pragma once

#include <condition_variable>
#include <mutex>

namespace um {

class Gate {
 public:
  /// `places`: at least one.
  explicit Gate(int places) : free_(places) {}

  /// A place while it lives. Its constructor waits until there is one, and throws Stopped when
  /// nobody waits for the thread's work any more (StopScope).
  class Pass {
   public:
    explicit Pass(Gate& gate);
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass();

   private:
    Gate& gate_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  int free_;
};

}  // namespace um
