// See http_head.h.
#include "server/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_alnum(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != kNone;
  });
}

bool is_visible(char c) {
  return c > 0x20 && c < 0x7f;
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == kNone) return {};
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

/// The path of a target, without its query, with its %XX decoded.
std::string decode_path(std::string_view target) {
  target = target.substr(0, target.find('?'));
  std::string path;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] != '%') {
      path += target[i];
      continue;
    }
    const int high = i + 2 < target.size() ? hex_digit(target[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(target[i + 2]) : -1;
    if (low < 0) refuse(400, "the path has a % that is not followed by two hexadecimal digits");
    path += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return path;
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
    if (lower(target.substr(0, scheme.size())) != scheme) continue;
    target.remove_prefix(scheme.size());
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    authority = target.substr(0, end);
    if (!is_host(authority)) refuse(400, "the request's target has no valid host");
    target.remove_prefix(end);
    head.path = target.starts_with('/') ? decode_path(target) : "/";
    return;
  }
  if (!target.starts_with('/')) refuse(400, "the request's target does not begin with /");
  head.path = decode_path(target);
}

/// METHOD TARGET HTTP/1.x. A target that names a host gives it as `authority`.
void read_request_line(std::string_view line, HttpHead& head, std::string& authority) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == kNone || last == first) refuse(400, "the first line is no HTTP request");
  const std::string_view method = line.substr(0, first), version = line.substr(last + 1);
  if (!is_token(method)) refuse(400, "the first line is no HTTP request");
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) ||
      version[6] != '.' || !is_digit(version[7]))
    refuse(400, "the first line does not end in an HTTP version");
  if (version[5] != '1') refuse(505, "expected HTTP/1.1 or HTTP/1.0");
  head.http_1_0 = version[7] == '0';
  static constexpr std::array<std::string_view, 7> kMethods = {"GET", "HEAD",   "POST", "OPTIONS",
                                                               "PUT", "DELETE", "PATCH"};
  if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end())
    refuse(501, "no such method here");
  head.method = method;
  read_target(line.substr(first + 1, last - first - 1), head, authority);
}

void read_field(std::string_view line, HttpHead& head) {
  if (line.starts_with(' ') || line.starts_with('\t'))
    refuse(400, "a header field goes on in a second line");
  const size_t colon = line.find(':');
  if (colon == kNone || !is_token(line.substr(0, colon)))
    refuse(400, "a header line is no NAME: VALUE");
  const std::string_view value = trim(line.substr(colon + 1));
  const bool good = std::all_of(value.begin(), value.end(), [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
  std::string name = lower(line.substr(0, colon));
  if (!good) refuse(400, "the header field {} holds control characters", name);
  head.fields.emplace_back(std::move(name), value);
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
  if (host && !host->empty() && !is_host(*host)) refuse(400, "the header field host is not valid");
  head.host = authority.empty() ? host.value_or("") : std::move(authority);
}

/// How long the body is.
void read_framing(HttpHead& head) {
  const auto length = single(head, "content-length");
  const auto coding = single(head, "transfer-encoding");
  if (coding) {
    if (length) refuse(400, "both content-length and transfer-encoding are given");
    if (head.http_1_0) refuse(400, "HTTP/1.0 has no transfer-encoding");
    const std::string codings = lower(*coding);
    const std::string_view last = trim(std::string_view(codings).substr(codings.rfind(',') + 1));
    if (last != "chunked") refuse(400, "the transfer-encoding does not end in chunked");
    if (codings != "chunked") refuse(501, "the only transfer-encoding is chunked");
    head.chunked = true;
  }
  if (!length) return;
  if (length->empty() || !std::all_of(length->begin(), length->end(), is_digit))
    refuse(400, "the content-length is no number");
  for (const char c : *length) {
    const bool huge = head.content_length > UINT64_MAX / 10 - 1;
    head.content_length =
        huge ? UINT64_MAX : head.content_length * 10 + static_cast<uint64_t>(c - '0');
  }
}

void read_coding(HttpHead& head) {
  const std::string coding = lower(single(head, "content-encoding").value_or(""));
  if (coding.empty() || coding == "identity") return;
  if (coding != "gzip" && coding != "x-gzip" && coding != "deflate")
    refuse(415, "content-encoding: expected gzip, deflate or none");
  head.coding = HttpHead::Coding::kZlib;
}

void read_expectation(HttpHead& head) {
  const auto expected = single(head, "expect");
  if (!expected || head.http_1_0) return;
  if (lower(*expected) != "100-continue") refuse(417, "expect: only 100-continue can be met");
  head.wants_continue = head.has_body();
}

std::string_view reason_of(int status) {
  static constexpr std::pair<int, std::string_view> kReasons[] = {
      {200, "OK"},
      {204, "No Content"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"}};
  for (const auto& [code, reason] : kReasons)
    if (code == status) return reason;
  return "";
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

std::string HttpHead::field(std::string_view name) const {
  for (const auto& [field, value] : fields)
    if (field.size() == name.size() && std::equal(field.begin(), field.end(), name.begin(),
                                                  [](char a, char b) { return a == lower(b); }))
      return value;
  return "";
}

size_t end_of_head(std::string_view received, size_t searched) {
  for (size_t i = received.find('\n', searched); i != kNone; i = received.find('\n', i + 1)) {
    const bool bare = i == 0 || received[i - 1] != '\r';
    if (bare || (i >= 3 && received.substr(i - 3, 2) == "\r\n")) return i + 1;
  }
  return kNone;
}

HttpHead parse_head(std::string_view text) {
  HttpHead head;
  std::string authority;
  bool first = true;
  for (;;) {
    const size_t end = text.find('\n');
    if (end == kNone || end == 0 || text[end - 1] != '\r')
      refuse(400, "a line of the head does not end in CR LF");
    const std::string_view line = text.substr(0, end - 1);
    text.remove_prefix(end + 1);
    if (first)
      read_request_line(line, head, authority);
    else if (line.empty())
      break;
    else
      read_field(line, head);
    first = false;
  }
  read_host(std::move(authority), head);
  read_framing(head);
  read_coding(head);
  read_expectation(head);
  for (const char* name : {"authorization", "x-api-key", "content-type", "origin"})
    single(head, name);
  return head;
}

std::string response_head(int status, const HttpFields& fields) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nConnection: close\r\n", status,
                                 reason_of(status), date());
  for (const auto& [name, value] : fields) text += fmt::format("{}: {}\r\n", name, value);
  return text + "\r\n";
}

std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return lower(host.substr(0, host.find(']') + 1));
  return lower(host.substr(0, host.find(':')));
}

}  // namespace um
