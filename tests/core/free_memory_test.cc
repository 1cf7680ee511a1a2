// How much memory is free.
#include "core/free_memory.h"

#include <gtest/gtest.h>

namespace um {
namespace {

TEST(FreeMemory, ReadsTheSystemsText) {
  EXPECT_EQ(available_memory("MemTotal: 9 kB\nMemAvailable:    1234 kB\nBuffers: 7 kB\n"),
            1234 * 1024);
  EXPECT_EQ(available_memory("MemTotal: 9 kB\n"), -1);
  EXPECT_EQ(available_memory("NoMemAvailable: 9 kB"), -1);
  EXPECT_EQ(available_memory("MemAvailable: none\n"), -1);
  EXPECT_EQ(available_memory("MemAvailable:"), -1);
  EXPECT_EQ(available_memory(""), -1);
  EXPECT_GT(free_memory_bytes(), 0);
}

TEST(FreeMemory, OfAControlGroup) {
  const std::string_view stat = "anon 300\nfile 500\ninactive_file 350\nactive_file 120\n";
  EXPECT_EQ(group_memory("1000\n", "800\n", stat), 200 + 350 + 120) << "files are dropped";
  EXPECT_EQ(group_memory("1000\n", "800\n", ""), 200);
  EXPECT_EQ(group_memory("1000\n", "1100\n", ""), 0);
  EXPECT_EQ(group_memory("1000\n", "100\n", stat), 1000) << "never more than the limit";
  EXPECT_EQ(group_memory("max\n", "800\n", stat), -1);
  EXPECT_EQ(group_memory("", "", ""), -1) << "no such files";
}

}  // namespace
}  // namespace um
