// See formats.h. Each matches only texts of the format (RFC 3339, 5321, 1123, 4291, 3986, 4122,
// 6901, 6570); where a format has rules that no regular expression says well, some texts less.
#include "engine/grammar/formats.h"

#include <fmt/format.h>

#include <cstdlib>
#include <map>

namespace um {
namespace {

std::string whole(const std::string& pattern) {
  return "^(?:" + pattern + ")$";
}

/// Years from 0001 on: many readers, Python's datetime among them, know no year 0000.
constexpr const char* kYear = R"((?:[1-9]\d{3}|0[1-9]\d\d|00[1-9]\d|000[1-9]))";

std::string date_pattern() {
  const std::string year = kYear;
  return "(?:" + year + R"(-(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|)" + year +
         R"(-(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|)" + year + R"(-02-(?:0[1-9]|1\d|2[0-8])|)" +
         R"((?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29))";
}

std::string time_pattern() {
  return R"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d))";
}

/// Times of a leap second, which is 23:59:60 in UTC, where clocks differ from UTC by `first` to
/// `last` minutes: only whole quarters of an hour, as all have since there are leap seconds.
std::string leap_pattern(int first, int last) {
  constexpr int kDay = 24 * 60, kQuarter = 15;
  std::map<int, std::map<int, std::string>> zones;  // by hour and minute
  for (int offset = first; offset <= last; offset += kQuarter) {
    const int time = (2 * kDay - 1 + offset) % kDay, size = std::abs(offset);
    std::string& list = zones[time / 60][time % 60];
    list += list.empty() ? "" : "|";
    list += offset == 0
                ? "[Zz]|[+-]00:00"
                : fmt::format("{}{:02}:{:02}", offset < 0 ? "-" : "\\+", size / 60, size % 60);
  }
  std::string all;
  for (const auto& [hour, minutes] : zones) {
    std::string times;
    for (const auto& [minute, list] : minutes)
      times += fmt::format(R"({}{:02}:60(?:\.\d{{1,3}})?(?:{}))", times.empty() ? "" : "|", minute,
                           list);
    all += fmt::format("{}{:02}:(?:{})", all.empty() ? "" : "|", hour, times);
  }
  return "(?:" + all + ")";
}

/// Leap seconds end a June or a December; where clocks are ahead of UTC the next day has begun.
std::string date_time_pattern() {
  const std::string year = kYear;
  return date_pattern() + "[Tt]" + time_pattern() + "|" + year + "-(?:06-30|12-31)[Tt]" +
         leap_pattern(-12 * 60, 0) + "|" + year + "-(?:07-01|01-01)[Tt]" +
         leap_pattern(15, 14 * 60);
}

std::string duration_pattern() {
  const std::string time = R"(T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S))";
  return "P(?:(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:" + time + ")?|" + time +
         R"(|\d+W))";
}

std::string ipv4_pattern() {
  const std::string byte = R"((?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))";
  return "(?:" + byte + "\\.){3}" + byte;
}

std::string ipv6_pattern() {
  const std::string h = "[0-9A-Fa-f]{1,4}", v4 = ipv4_pattern();
  std::string all = "(?:" + h + ":){7}" + h + "|(?:" + h + ":){6}" + v4;
  // `before` groups, "::", `after` groups: at most seven of them.
  for (int before = 0; before <= 7; ++before) {
    const int after = 7 - before;
    std::string front = before == 0 ? "" : h;
    if (before > 1) front += "(?::" + h + "){" + std::to_string(before - 1) + "}";
    all += "|" + front + "::";
    if (after > 0) all += "(?:" + h + "(?::" + h + "){0," + std::to_string(after - 1) + "})?";
    if (after > 1)
      all += "|" + front + "::(?:" + h + ":){0," + std::to_string(after - 2) + "}" + v4;
  }
  return all;
}

/// Labels of letters, digits and single hyphens ("--" belongs to punycode, which has rules of its
/// own), so many and so long that the whole has at most 253 characters.
std::string hostname_pattern() {
  const auto label = [](int most) {
    return "[A-Za-z0-9](?:-?[A-Za-z0-9]){0," + std::to_string(most) + "}";
  };
  return label(31) + "(?:\\." + label(31) + "){0,2}|" + label(14) + "(?:\\." + label(14) + "){0,7}";
}

std::string email_pattern() {
  const std::string atom = R"([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)";
  const std::string label = R"([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)";
  return atom + "(?:\\." + atom + ")*@" + label + "(?:\\." + label + ")*";
}

/// RFC 3986: what may stand in the parts of a URI.
std::string uri_pattern(bool relative) {
  const std::string pct = "%[0-9A-Fa-f]{2}";
  const std::string plain = R"([A-Za-z0-9._~!$&'()*+,;=-])";
  const std::string pchar = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" + pct + ")";
  const std::string nc = "(?:[A-Za-z0-9._~!$&'()*+,;=@-]|" + pct + ")";  // no colon
  const std::string host = "(?:\\[(?:" + ipv6_pattern() + ")\\]|(?:" + plain + "|" + pct + ")*)";
  const std::string authority = "(?:(?:" + plain + "|:|" + pct + ")*@)?" + host + "(?::\\d*)?";
  const std::string net = "//" + authority + "(?:/" + pchar + "*)*";
  const std::string absolute = "/(?:" + pchar + "+(?:/" + pchar + "*)*)?";
  const std::string rootless = pchar + "+(?:/" + pchar + "*)*";
  const std::string no_scheme = nc + "+(?:/" + pchar + "*)*";
  const std::string rest = "(?:\\?(?:" + pchar + "|[/?])*)?(?:#(?:" + pchar + "|[/?])*)?";
  const std::string uri =
      "[A-Za-z][A-Za-z0-9+.-]*:(?:" + net + "|" + absolute + "|" + rootless + ")?" + rest;
  if (!relative) return uri;
  return uri + "|(?:" + net + "|" + absolute + "|" + no_scheme + ")?" + rest;
}

std::string uri_template_pattern() {
  const std::string name = R"((?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+)";
  const std::string variable = name + "(?:\\." + name + ")*(?:\\*|:[1-9]\\d{0,3})?";
  return R"((?:[A-Za-z0-9._~!$&()*+,;=:/?#@\[\]-]|%[0-9A-Fa-f]{2}|\{[+#./;?&]?)" + variable +
         "(?:," + variable + ")*\\})*";
}

/// Simple expressions: literals, classes, repeats, one level of groups.
std::string regex_pattern() {
  const std::string safe =  // nothing that a repeat could not follow, no ranges that run backwards
      R"((?:[^\\^$.*+?()\[\]{}|\n\r-]|\\[dDwWsStnrfv^$.*+?()\[\]{}|/\\]|\.|\[\^?(?:a-z|A-Z|0-9|[A-Za-z0-9_ .,])+\]))";
  const std::string times = R"((?:[*+?]\??)?)";
  const std::string run = "(?:" + safe + times + "|-)*";
  const std::string group = "\\((?:\\?:)?" + run + "(?:\\|" + run + ")*\\)" + times;
  return "\\^?(?:" + safe + times + "|-|" + group + ")*\\$?";
}

std::map<std::string, FormatPattern, std::less<>> make_formats() {
  const int most = 23 * 60 + 45;
  const std::string uri = uri_pattern(false), reference = uri_pattern(true);
  const std::string pointer = R"((?:/(?:[^~/]|~[01])*)*)";
  const auto exact = [](const std::string& p) { return FormatPattern{whole(p), false}; };
  const auto fewer = [](const std::string& p) { return FormatPattern{whole(p), true}; };
  return {
      {"date", fewer(date_pattern())},
      {"time", fewer(time_pattern() + "|" + leap_pattern(-most, most))},
      {"date-time", fewer(date_time_pattern())},
      {"duration", exact(duration_pattern())},
      {"uuid", exact("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")},
      {"ipv4", exact(ipv4_pattern())},
      {"ipv6", exact(ipv6_pattern())},
      {"hostname", fewer(hostname_pattern())},
      {"idn-hostname", fewer(hostname_pattern())},
      {"email", fewer(email_pattern())},
      {"idn-email", fewer(email_pattern())},
      {"uri", fewer(uri)},
      {"iri", fewer(uri)},
      {"uri-reference", fewer(reference)},
      {"iri-reference", fewer(reference)},
      {"uri-template", fewer(uri_template_pattern())},
      {"json-pointer", exact(pointer)},
      {"relative-json-pointer", exact("(?:0|[1-9]\\d*)(?:#|" + pointer + ")")},
      {"regex", fewer(regex_pattern())},
  };
}

}  // namespace

FormatPattern pattern_of_format(std::string_view format) {
  static const auto formats = make_formats();
  const auto at = formats.find(format);
  return at == formats.end() ? FormatPattern{} : at->second;
}

}  // namespace um
