// See http_head.h.
#include "server/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <optional>

namespace um {
namespace {

constexpr size_t kNone = std::string_view::npos;

template <class... Args>
[[noreturn]] void refuse(int status, fmt::format_string<Args...> format, Args&&... args) {
  throw HttpError{status, fmt::format(format, std::forward<Args>(args)...)};
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_alnum(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

bool is_visible(char c) {
  return c > 0x20 && c < 0x7f;
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

/// `text` with its %XX decoded.
std::string decode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) refuse(400, "the target has a % that is not followed by two hexadecimal digits");
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

/// Path and query of a target that begins with its path.
void split_target(std::string_view target, HttpHead& head) {
  const size_t mark = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, mark);
  head.path = decode(path);
  // One reader takes these for a separator or the end, another for part of a name.
  if (ascii_lower(path).find("%2f") != kNone || head.path.find('\\') != kNone ||
      std::any_of(head.path.begin(), head.path.end(), is_control))
    refuse(400, "the target's path has an encoded slash, a backslash or a control character");
  head.query = target.substr(std::min(mark + 1, target.size()));
  decode(head.query);  // refused here, not when a route asks for a part of it
}

/// NAME, NAME:PORT or [ADDRESS]:PORT.
bool is_host(std::string_view host) {
  size_t name = host.find(':');
  if (host.starts_with('[')) name = host.find(']') == kNone ? 0 : host.find(']') + 1;
  const std::string_view port = host.substr(std::min(name, host.size()));
  const std::string_view rest = host.substr(0, name);
  const bool good = std::all_of(rest.begin(), rest.end(), [](char c) {
    return is_alnum(c) || std::string_view("-._~%!$&'()*+,;=[]:").find(c) != kNone;
  });
  return good && !rest.empty() && (port.empty() || port[0] == ':') &&
         std::all_of(port.begin() + (port.empty() ? 0 : 1), port.end(), is_digit);
}

void read_target(std::string_view target, HttpHead& head, std::string& authority) {
  if (!std::all_of(target.begin(), target.end(), is_visible) || target.find('#') != kNone)
    refuse(400, "the request's target has characters that it must not have");
  if (target == "*" && head.method == "OPTIONS") {
    head.path = "*";
    return;
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (ascii_lower(target.substr(0, scheme.size())) != scheme) continue;
    target.remove_prefix(scheme.size());
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    authority = target.substr(0, end);
    if (!is_host(authority)) refuse(400, "the request's target has no valid host");
    target.remove_prefix(end);
    split_target(target.starts_with('/') ? std::string(target) : "/" + std::string(target), head);
    return;
  }
  if (!target.starts_with('/')) refuse(400, "the request's target does not begin with /");
  split_target(target, head);
}

void check_method(std::string_view method) {
  static constexpr std::array<std::string_view, 7> kMethods = {"GET", "HEAD",   "POST", "OPTIONS",
                                                               "PUT", "DELETE", "PATCH"};
  if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end())
    refuse(501, "no such method here");
}

/// The one value of a field; two of them could be read in two ways.
std::optional<std::string> single(const HttpHead& head, std::string_view name) {
  std::optional<std::string> found;
  for (const auto& [field, value] : head.fields) {
    if (field != name) continue;
    if (found) refuse(400, "the header field {} stands there twice", name);
    found = value;
  }
  return found;
}

void read_host(std::string authority, HttpHead& head) {
  const auto host = single(head, "host");
  if (!host && !head.http_1_0) refuse(400, "the header field host is missing");
  if (host && !is_host(*host)) refuse(400, "the header field host is not valid");
  head.host = authority.empty() ? host.value_or("") : std::move(authority);
}

/// Beast takes lengths that repeat themselves, and the last coding of several.
void check_framing(const HttpHead& head, bool chunked) {
  const auto length = single(head, "content-length");
  if (length && !std::all_of(length->begin(), length->end(), is_digit))
    refuse(400, "the content-length is no number");
  const auto coding = single(head, "transfer-encoding");
  if (!coding) return;
  if (head.http_1_0) refuse(400, "HTTP/1.0 has no transfer-encoding");
  if (!chunked) refuse(400, "the transfer-encoding does not end in chunked");
  if (ascii_lower(*coding) != "chunked") refuse(501, "the only transfer-encoding is chunked");
}

void read_coding(HttpHead& head) {
  const std::string coding = ascii_lower(single(head, "content-encoding").value_or(""));
  if (coding.empty() || coding == "identity") return;
  if (coding != "gzip" && coding != "x-gzip" && coding != "deflate")
    refuse(415, "content-encoding: expected gzip, deflate or none");
  head.zipped = true;
}

void read_expectation(HttpHead& head, bool body) {
  const auto expected = single(head, "expect");
  if (!expected || head.http_1_0) return;
  if (ascii_lower(*expected) != "100-continue") refuse(417, "expect: only 100-continue can be met");
  head.wants_continue = body;
}

/// Now, as HTTP has it: in English, whatever the locale.
std::string date() {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm t{};
  ::gmtime_r(&now, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday,
                     kMonths[t.tm_mon], 1900 + t.tm_year, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace

std::string HttpHead::query_value(std::string_view name) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    const size_t equals = std::min(part.find('='), part.size());
    if (decode(part.substr(0, equals)) != name) continue;
    std::string value(part.substr(std::min(equals + 1, part.size())));
    std::replace(value.begin(), value.end(), '+', ' ');
    return decode(value);
  }
  return "";
}

std::string HttpHead::field(std::string_view name) const {
  for (const auto& [field, value] : fields)
    if (field.size() == name.size() && std::equal(field.begin(), field.end(), name.begin(),
                                                  [](char a, char b) { return a == lower(b); }))
      return value;
  return "";
}

std::string ascii_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

void complete_head(std::string_view target, bool chunked, bool body, HttpHead& head) {
  check_method(head.method);
  std::string authority;
  read_target(target, head, authority);
  read_host(std::move(authority), head);
  check_framing(head, chunked);
  read_coding(head);
  read_expectation(head, body);
  for (const char* name : {"authorization", "x-api-key", "content-type", "origin"})
    single(head, name);
}

std::string response_head(int status, const HttpFields& fields) {
  namespace http = boost::beast::http;
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nConnection: close\r\n", status,
                                 std::string_view(reason.data(), reason.size()), date());
  for (const auto& [name, value] : fields) text += fmt::format("{}: {}\r\n", name, value);
  return text + "\r\n";
}

std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return ascii_lower(host.substr(0, host.find(']') + 1));
  return ascii_lower(host.substr(0, host.find(':')));
}

}  // namespace um
