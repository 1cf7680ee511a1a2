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

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// The number that a text begins with, behind spaces; -1 if there is none ("max").
int64_t number_of(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  int64_t value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// The number of the line that begins with `name`; -1 if there is none.
int64_t number_named(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    if (text.starts_with(name)) return number_of(text.substr(name.size()));
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return -1;
}

}  // namespace

int64_t available_memory(std::string_view meminfo) {
  const int64_t kilobytes = number_named(meminfo, "MemAvailable:");
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}

int64_t group_memory(std::string_view limit, std::string_view used, std::string_view stat) {
  const int64_t most = number_of(limit), taken = number_of(used);
  if (most < 0 || taken < 0) return -1;
  int64_t free = most - taken;
  for (const char* files : {"active_file ", "inactive_file "})
    free += std::max<int64_t>(0, number_named(stat, files));
  return std::clamp<int64_t>(free, 0, most);
}

int64_t free_memory_bytes() {
  const std::string group = "/sys/fs/cgroup/", first = group + "memory/";  // versions 2 and 1
  int64_t free = std::numeric_limits<int64_t>::max();
  for (const int64_t bytes :
       {available_memory(text_of("/proc/meminfo")),
        group_memory(text_of(group + "memory.max"), text_of(group + "memory.current"),
                     text_of(group + "memory.stat")),
        group_memory(text_of(first + "memory.limit_in_bytes"),
                     text_of(first + "memory.usage_in_bytes"), text_of(first + "memory.stat"))})
    if (bytes >= 0) free = std::min(free, bytes);
  return free;
}

}  // namespace um
