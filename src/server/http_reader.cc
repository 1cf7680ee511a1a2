// See http_reader.h.
//
// Boost.Beast 1.74 is given a head as a whole: of a part it would count only what it has not parsed
// yet, and search a trickling one for its end before it looks at what is wrong with it.
#include "server/http_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

// One of its assertions (of five bytes behind the last chunk's size) fails where the end of a body
// trickles in; the code below it is right without.
#define BOOST_DISABLE_ASSERTS
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include "core/error.h"
#include "core/inflater.h"

namespace um {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

constexpr size_t kMaxBlank = 16;      // bytes of empty lines in front of a request
constexpr size_t kMaxFraming = 8192;  // of a chunk's size and extensions, with the trailer

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

/// Whether a first line that Beast finds no version in has one that is not ours.
bool has_other_version(std::string_view head) {
  const std::string_view line = head.substr(0, head.find("\r\n"));
  const std::string_view last = line.substr(line.rfind(' ') + 1);
  return last.size() == 8 && last.starts_with("HTTP/") && last[6] == '.' && last != "HTTP/1.1" &&
         last != "HTTP/1.0";
}

HttpError describe(error_code found, std::string_view text) {
  using http::error;
  static constexpr std::pair<error, const char*> kMessages[] = {
      {error::bad_method, "the first line is no HTTP request"},
      {error::bad_target, "the request's target has characters that it must not have"},
      {error::bad_version, "the first line does not end in HTTP/1.1 or HTTP/1.0"},
      {error::need_more, "the first line does not end in HTTP/1.1 or HTTP/1.0"},  // of a whole head
      {error::bad_field, "a header line is no NAME: VALUE"},
      {error::bad_value, "a header field has a value that it must not have"},
      {error::bad_line_ending, "a line does not end in CR LF"},
      {error::bad_content_length, "the content-length is no number, or not the only length"},
      {error::bad_transfer_encoding, "the transfer-encoding is not the only length"},
      {error::bad_chunk, "the body has a chunk without a valid size, or longer than that"},
      {error::bad_chunk_extension, "the body has a chunk with an extension that is none"}};
  if (found == error::bad_version && has_other_version(text))
    return {505, "expected HTTP/1.1 or HTTP/1.0"};
  for (const auto& [code, message] : kMessages)
    if (found == code) return {400, message};
  return {400, found.message()};
}

[[noreturn]] void too_large(size_t limit) {
  throw HttpError{413, fmt::format("the body has more than {} bytes", limit)};
}

/// Where the head ends in what has come so far: the offset behind its empty line, or npos. A line
/// that ends otherwise than it must ends the head, too, so that it is refused at once.
size_t end_of_head(std::string_view received, size_t searched) {
  for (size_t i = received.find('\n', searched); i != std::string_view::npos;
       i = received.find('\n', i + 1)) {
    const bool bare = i == 0 || received[i - 1] != '\r';
    if (bare || (i >= 3 && received.substr(i - 3, 2) == "\r\n")) return i + 1;
  }
  return std::string_view::npos;
}

void check_folds(std::string_view lines) {
  for (const char* fold : {"\r\n ", "\r\n\t"})
    if (lines.find(fold) != std::string_view::npos)
      throw HttpError{400, "a header field goes on in a second line"};
}

/// What Beast would read in a head's lines though RFC 9112 forbids it.
void check_lines(std::string_view head) {
  if (!head.ends_with("\r\n\r\n")) throw HttpError{400, "a line of the head does not end in CR LF"};
  check_folds(head);
}

/// The same of what stands between the parts of a body, as far as it has come: the size of a chunk,
/// with the trailer behind the last one.
void check_framing(std::string_view lines) {
  for (size_t i = lines.find('\n'); i != std::string_view::npos; i = lines.find('\n', i + 1))
    if (i == 0 || lines[i - 1] != '\r') throw describe(http::error::bad_line_ending, lines);
  check_folds(lines);
}

/// Beast takes anything between quotes.
void check_extensions(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return c != '\t' && is_control(c); }))
    throw describe(http::error::bad_chunk_extension, text);
}

std::string unzip(std::string_view packed, size_t max_bytes) {
  std::string out;
  std::array<char, 1 << 16> buffer;
  try {
    Inflater inflater;
    while (const size_t got = inflater.read(packed, buffer.data(), buffer.size())) {
      out.append(buffer.data(), got);
      if (out.size() > max_bytes) too_large(max_bytes);
    }
    inflater.finish();
  } catch (const Error& error) {
    throw HttpError{
        400, fmt::format("the body is not what its content-encoding says: {}", error.what())};
  }
  return out;
}

}  // namespace

/// What Beast calls while it parses.
class HttpReader::Parser : public http::basic_parser<true> {
 public:
  explicit Parser(size_t max_body) : max_body_(max_body) {
    header_limit(std::numeric_limits<uint32_t>::max());  // ours has been looked at
    body_limit(std::numeric_limits<uint64_t>::max());    // see check_size()
  }

  HttpHead head;
  std::string body;

  void check_size(uint64_t more) const {
    if (more > max_body_ - body.size()) too_large(max_body_);
  }

 private:
  using string_view = boost::beast::string_view;

  void on_request_impl(http::verb, string_view method, string_view target, int version,
                       error_code&) override {
    head.method = view(method);
    head.http_1_0 = version == 10;
    target_ = view(target);
  }
  void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
    if (is_header_done()) return;  // of a trailer: it must not change the head
    head.fields.emplace_back(ascii_lower(view(name)), view(value));
  }
  void on_header_impl(error_code&) override { complete_head(target_, chunked(), !is_done(), head); }
  void on_body_init_impl(const boost::optional<uint64_t>& length, error_code&) override {
    check_size(length.value_or(0));
  }
  size_t on_body_impl(string_view part, error_code&) override {
    // Large blocks go back to the system when they are freed (see main). The blocks that a growing
    // string leaves on its way to them would not.
    constexpr size_t kSmall = 128 << 10, kLarge = 2 << 20;
    if (body.size() + part.size() > kSmall) body.reserve(kLarge);
    body += view(part);
    return part.size();
  }
  void on_chunk_header_impl(uint64_t size, string_view extensions, error_code&) override {
    check_extensions(view(extensions));
    check_size(size);
  }
  size_t on_chunk_body_impl(uint64_t, string_view part, error_code& error) override {
    return on_body_impl(part, error);
  }
  void on_finish_impl(error_code&) override {}
  void on_response_impl(int, string_view, int, error_code&) override {}

  size_t max_body_;
  std::string target_;
};

HttpReader::HttpReader(const HttpLimits& limits) : limits_(limits) {}
HttpReader::HttpReader(HttpReader&&) noexcept = default;
HttpReader& HttpReader::operator=(HttpReader&&) noexcept = default;
HttpReader::~HttpReader() = default;

size_t HttpReader::held() const {
  return text_.size() + (parser_ == nullptr ? 0 : parser_->body.size());
}

const HttpHead& HttpReader::head() const {
  return parser_->head;
}

bool HttpReader::take_head(std::string_view bytes) {
  const size_t had = text_.size();
  text_ += bytes;
  size_t blank = 0;  // empty lines in front, as RFC 9112 wants it
  while (text_.compare(blank, 2, "\r\n") == 0) blank += 2;
  text_.erase(0, blank);
  blank_ += blank;
  if (blank_ > kMaxBlank) throw HttpError{400, "empty lines in place of a request"};
  const size_t end = end_of_head(text_, blank == 0 ? had : 0);
  if (std::min(end, text_.size()) > limits_.header_bytes) {
    const bool line = text_.find('\n') >= limits_.header_bytes;
    throw HttpError{line ? 414 : 431,
                    fmt::format("the {} has more than {} bytes", line ? "first line" : "head",
                                limits_.header_bytes)};
  }
  if (end == std::string::npos) return false;
  const std::string_view text = std::string_view(text_).substr(0, end);
  check_lines(text);
  auto parser = std::make_unique<Parser>(limits_.body_bytes);
  error_code error;
  parser->put({text.data(), text.size()}, error);
  if (error) throw describe(error, text);
  parser_ = std::move(parser);
  text_.erase(0, end);
  return true;
}

void HttpReader::check_length() const {
  parser_->check_size(parser_->content_length().value_or(0));
}

bool HttpReader::take_body(std::string_view bytes) {
  text_ += bytes;
  std::string_view rest = text_;
  error_code error;
  while (!error && !parser_->is_done()) {  // each time a part of the data, or what is between
    const size_t had = parser_->body.size();
    const size_t used = parser_->put({rest.data(), rest.size()}, error);
    const bool data = parser_->body.size() > had;
    if (parser_->chunked() && !data) check_framing(rest.substr(0, used > 0 ? used : rest.size()));
    if (error == http::error::body_limit) too_large(limits_.body_bytes);
    if (error && error != http::error::need_more) throw describe(error, rest);
    const size_t framing = used > 0 ? used - (parser_->body.size() - had) : rest.size();
    if (framing > kMaxFraming)
      throw HttpError{431, "the extensions of a chunk, or the trailer, are too large"};
    rest.remove_prefix(used);
    if (used == 0) break;
  }
  text_.erase(0, text_.size() - rest.size());
  return parser_->is_done();
}

std::string HttpReader::finish() {
  if (!parser_->is_done()) return "";
  const bool zipped = parser_->head.zipped && !parser_->body.empty();
  return zipped ? unzip(parser_->body, limits_.body_bytes) : std::move(parser_->body);
}

}  // namespace um
