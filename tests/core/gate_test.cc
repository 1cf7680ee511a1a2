// So many threads at once, and nobody waits for what nobody wants.
#include "core/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "core/stop_scope.h"

namespace um {
namespace {

TEST(Gate, LetsSoManyIn) {
  constexpr int kPlaces = 3, kThreads = 16;
  Gate gate(kPlaces);
  std::atomic<int> inside = 0, most = 0, done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        const Gate::Pass pass(gate);
        const int now = ++inside;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        --inside;
        ++done;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, kPlaces);
  EXPECT_EQ(done, kThreads * 20);
}

TEST(Gate, WhoIsNotWantedWaitsNoLonger) {
  Gate gate(1);
  std::atomic<bool> gone = false;
  std::atomic<int> stopped = 0;
  std::vector<std::thread> threads;
  {
    const Gate::Pass pass(gate);
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        const StopScope scope([&] { return gone.load(); });
        try {
          const Gate::Pass mine(gate);
        } catch (const Stopped&) {
          ++stopped;
        }
      });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    gone = true;
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(stopped, 4);
  const Gate::Pass pass(gate);  // its place is free again
}

}  // namespace
}  // namespace um
