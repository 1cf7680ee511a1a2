// How much memory is free.
#include "core/free_memory.h"

#include <gtest/gtest.h>

namespace um {
namespace {

TEST(FreeMemory, ReadsTheSystemsText) {
  EXPECT_EQ(available_memory("MemTotal: 9 kB\nMemAvailable:    1234 kB\nBuffers: 7 kB\n"),
            1234 * 1024);
  EXPECT_EQ(available_memory("MemTotal: 9 kB\n"), -1);
  EXPECT_EQ(available_memory("MemAvailable: none\n"), -1);
  EXPECT_EQ(available_memory("MemAvailable:"), -1);
  EXPECT_GT(free_memory_bytes(), 0);
}

}  // namespace
}  // namespace um
