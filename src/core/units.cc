// See units.h.
#include "core/units.h"

#include <fmt/format.h>

namespace um {
namespace {

/// Three significant digits of a number from 1 to 1000.
std::string three_digits(double value) {
  return fmt::format("{:.{}f}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

}  // namespace

std::string digits(int64_t count) {
  std::string text = std::to_string(count);
  const size_t first = text[0] == '-' ? 1 : 0;
  for (size_t at = text.size(); at > first + 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string short_count(double count) {
  if (count < 1000) return fmt::format("{:.0f}", count);
  const char* units[] = {"", " K", " M", " B", " T"};
  int unit = 0;
  while (count >= 999.5 && unit < 4) count /= 1000, ++unit;
  return three_digits(count) + units[unit];
}

std::string bytes_text(double bytes) {
  if (bytes < 1000) return fmt::format("{:.0f} B", bytes);
  const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  int unit = 0;
  while (bytes >= 999.5 && unit < 5) bytes /= 1000, ++unit;
  return three_digits(bytes) + " " + units[unit];
}

}  // namespace um
