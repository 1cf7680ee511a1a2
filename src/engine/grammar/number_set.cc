// See number_set.h.
#include "engine/grammar/number_set.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace um {
namespace {

constexpr int64_t kMaxDigits = 400;  // a double needs 309 before the point, 341 behind it

int compare_sizes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order < 0 ? -1 : 1;
  const int order = a.fraction.compare(b.fraction);  // no zeros behind: a prefix is smaller
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

bool is_multiple(const Decimal& value, const MultipleOf& of) {
  uint64_t rest = 0;
  const auto read = [&](char digit) {
    rest = static_cast<uint64_t>(
        (static_cast<unsigned __int128>(rest) * 10 + static_cast<unsigned>(digit - '0')) %
        of.units);
  };
  if (value.fraction.size() > static_cast<size_t>(of.places)) return false;
  for (const char digit : value.whole) read(digit);
  for (size_t i = 0; i < static_cast<size_t>(of.places); ++i)
    read(i < value.fraction.size() ? value.fraction[i] : '0');
  return rest == 0;
}

}  // namespace

std::optional<Decimal> Decimal::parse(std::string_view text) {
  Decimal made;
  made.negative = text.starts_with('-');
  if (made.negative) text.remove_prefix(1);
  const size_t e = std::min(text.find_first_of("eE"), text.size());
  const size_t point = std::min(text.find('.'), e);
  std::string digits(text.substr(0, point));
  if (point < e) digits += text.substr(point + 1, e - point - 1);
  if (digits.empty() || digits.size() > 2 * kMaxDigits ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    return {};
  int64_t exponent = 0;
  if (e < text.size()) {
    const std::string power(text.substr(e + 1));
    if (power.empty() || power.size() > 5) return {};
    exponent = std::atoi(power.c_str());
  }
  const int64_t whole = static_cast<int64_t>(point) + exponent;  // digits before the point
  if (whole > kMaxDigits || whole < -kMaxDigits) return {};
  if (whole < 0) {
    std::string zeros(static_cast<size_t>(-whole), '0');
    zeros += digits;
    digits = std::move(zeros);
  }
  const auto split = static_cast<size_t>(std::max<int64_t>(whole, 0));
  if (digits.size() < split) digits.append(split - digits.size(), '0');
  made.whole = digits.substr(0, split);
  made.fraction = digits.substr(split);
  made.whole.erase(0, std::min(made.whole.find_first_not_of('0'), made.whole.size()));
  if (made.whole.empty()) made.whole.assign(1, '0');
  made.fraction.erase(made.fraction.find_last_not_of('0') + 1);
  if (made.fraction.size() > static_cast<size_t>(kMaxDigits)) return {};
  if (made.is_zero()) made.negative = false;
  return made;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_sizes(b, a) : compare_sizes(a, b);
}

std::optional<Decimal> next_double(const Decimal& value, bool up) {
  const std::string text = (value.negative ? "-" : "") + value.whole + "." + (value.fraction + "0");
  double read = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), read);
  if (parsed.ec != std::errc()) return {};
  const double limit = up ? HUGE_VAL : -HUGE_VAL;
  return Decimal::parse(fmt::format("{}", std::nextafter(read, limit)));
}

bool NumberSet::contains(const Decimal& value) const {
  if (whole && *whole != value.fraction.empty()) return false;
  for (const Bound& bound : bounds) {
    const int order = compare(value, bound.value);
    if (!(order < 0 ? bound.below : order > 0 ? bound.above : bound.equal)) return false;
  }
  return std::all_of(multiples.begin(), multiples.end(),
                     [&](const MultipleOf& of) { return is_multiple(value, of) != of.negated; });
}

bool NumberSet::is_empty() const {
  // A set with numbers below, above or between its bounds has one at a bound, or next to it.
  for (const Bound& low : bounds)
    for (const Bound& high : bounds) {
      if (low.below || high.above) continue;  // not a lower bound, not an upper one
      const int order = compare(low.value, high.value);
      if (order > 0 || (order == 0 && !(low.equal && high.equal))) return true;
      if (order == 0 && !contains(low.value)) return true;
    }
  return false;
}

void NumberSet::intersect(const NumberSet& other) {
  if (other.whole && whole && *whole != *other.whole) {
    bounds.push_back({});  // none
  } else if (other.whole) {
    whole = other.whole;
  }
  pointless = pointless || other.pointless;
  const auto add = [](auto& list, const auto& more) {
    for (const auto& one : more)
      if (std::find(list.begin(), list.end(), one) == list.end()) list.push_back(one);
  };
  add(bounds, other.bounds);
  add(multiples, other.multiples);
}

}  // namespace um
