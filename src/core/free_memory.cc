// See free_memory.h.
#include "core/free_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace um {
namespace {

std::string text_of(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// The number that a text begins with; -1 if there is none ("max").
int64_t number_of(std::string_view text) {
  int64_t value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

int64_t available_memory(std::string_view meminfo) {
  constexpr std::string_view kName = "MemAvailable:";
  const size_t at = meminfo.find(kName);
  if (at == std::string_view::npos) return -1;
  meminfo.remove_prefix(at + kName.size());
  const size_t digit = meminfo.find_first_not_of(' ');
  if (digit == std::string_view::npos) return -1;
  const int64_t kilobytes = number_of(meminfo.substr(digit));
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}

int64_t free_memory_bytes() {
  int64_t free = available_memory(text_of("/proc/meminfo"));
  if (free < 0) free = std::numeric_limits<int64_t>::max();
  const int64_t limit = number_of(text_of("/sys/fs/cgroup/memory.max"));
  const int64_t used = number_of(text_of("/sys/fs/cgroup/memory.current"));
  if (limit >= 0 && used >= 0) free = std::min(free, std::max<int64_t>(0, limit - used));
  return free;
}

}  // namespace um
