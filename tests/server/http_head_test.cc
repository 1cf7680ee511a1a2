// The head of a request by RFC 9110 and 9112, and bodies by length, in chunks and zipped.
#include "server/http_head.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "server/http_body.h"
#include "tests/core/linear_util.h"

namespace um {
namespace {

/// The status that such a head is refused with, or 0.
int refusal(const std::string& head) {
  try {
    parse_head(head);
    return 0;
  } catch (const HttpError& error) {
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
    return error.status;
  }
}

/// The same of a request with these lines behind the first one and Host.
int refusal_of_fields(const std::string& lines) {
  return refusal("POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n");
}

TEST(HttpHead, ReadsWhatIsRight) {
  const HttpHead head = parse_head(
      "GET /v1/models/a%20b?x=1 HTTP/1.1\r\nHost: Example.com:8000\r\nX-Thing: \t a b \r\n\r\n");
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.path, "/v1/models/a b");
  EXPECT_EQ(host_name(head.host), "example.com");
  EXPECT_EQ(head.field("x-THING"), "a b");
  EXPECT_EQ(head.field("none"), "");
  EXPECT_FALSE(head.has_body());
  EXPECT_EQ(host_name("[::1]:80"), "[::1]");

  const HttpHead absolute = parse_head("GET http://b:1/x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(absolute.host + absolute.path, "b:1/x");
  EXPECT_EQ(parse_head("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
  EXPECT_TRUE(parse_head("GET / HTTP/1.0\r\n\r\n").http_1_0);
  EXPECT_EQ(parse_head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*");
  EXPECT_TRUE(
      parse_head("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").chunked);
  const HttpHead waits =
      parse_head("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 7\r\n\r\n");
  EXPECT_TRUE(waits.wants_continue);
  EXPECT_EQ(waits.content_length, 7u);
}

TEST(HttpHead, RefusesBadFirstLines) {
  for (const char* line :
       {"NONSENSE", "GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/11", "GET /a b HTTP/1.1", "GET x HTTP/1.1", "GET * HTTP/1.1",
        "G(T / HTTP/1.1", "GET /#a HTTP/1.1", "GET /%zz HTTP/1.1", "GET /% HTTP/1.1",
        "GET /\x01 HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", "GET http:// HTTP/1.1",
        "GET http://a@b c/ HTTP/1.1", ""})
    EXPECT_EQ(refusal(std::string(line) + "\r\nHost: a\r\n\r\n"), 400) << line;
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  for (const char* method : {"CONNECT", "TRACE", "FOO", "get", "PRI"})
    EXPECT_EQ(refusal(std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n"), 501) << method;
}

TEST(HttpHead, RefusesWhatCanBeReadInTwoWays) {
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\n\r\n"), 400);  // no host
  EXPECT_EQ(refusal_of_fields("Host: a\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("Host: b\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("X: a\r\n b\r\n"), 400);  // obs-fold
  EXPECT_EQ(refusal_of_fields(" X: a\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("X: a\rb\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("X: a\nY: b\r\n"), 400);
  EXPECT_EQ(refusal_of_fields(std::string("X: a\0b\r\n", 8)), 400);
  EXPECT_EQ(refusal_of_fields("no colon\r\n"), 400);
  EXPECT_EQ(refusal_of_fields(": x\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("Authorization: a\r\nAuthorization: b\r\n"), 400);
}

TEST(HttpHead, RefusesFramingThatIsNotClear) {
  const std::string length = "Content-Length: 5\r\n", chunked = "Transfer-Encoding: chunked\r\n";
  EXPECT_EQ(refusal_of_fields(length + chunked), 400);
  EXPECT_EQ(refusal_of_fields(length + length), 400);
  EXPECT_EQ(refusal_of_fields(chunked + chunked), 400);
  for (const char* value : {"-5", "+5", "5, 5", "5x", "0x5", "", "5 5"})
    EXPECT_EQ(refusal_of_fields(std::string("Content-Length: ") + value + "\r\n"), 400) << value;
  EXPECT_EQ(refusal_of_fields("Transfer-Encoding: gzip\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("Transfer-Encoding: gzip, chunked\r\n"), 501);
  EXPECT_EQ(refusal_of_fields("Transfer-Encoding: chunked, gzip\r\n"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.0\r\n" + chunked + "\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("Content-Encoding: br\r\n"), 415);
  EXPECT_EQ(refusal_of_fields("Content-Encoding: gzip, gzip\r\n"), 415);
  EXPECT_EQ(refusal_of_fields("Expect: a miracle\r\n"), 417);
  const std::string huge = "Content-Length: " + std::string(400, '9') + "\r\n";
  EXPECT_EQ(refusal_of_fields(huge), 0);  // its body is refused
  EXPECT_THROW(HttpBody(parse_head("POST / HTTP/1.1\r\nHost: a\r\n" + huge + "\r\n"), 1 << 20),
               HttpError);
}

TEST(HttpHead, ItsEndIsFoundInAnyPieces) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", text = head + "body\r\n\r\n";
  for (size_t cut = 0; cut <= head.size(); ++cut) {
    const size_t first = end_of_head(text.substr(0, cut), 0);
    EXPECT_EQ(first, cut == head.size() ? head.size() : std::string::npos);
    EXPECT_EQ(end_of_head(text, cut == head.size() ? 0 : cut), head.size());
  }
  EXPECT_EQ(end_of_head("GET / HTTP/1.1\nHost: a\n\n", 0), 15u);  // refused at its first line
}

TEST(HttpHead, TimeIsLinear) {
  expect_linear(
      20000,
      [](size_t size) {
        std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";
        for (size_t i = 0; i < size; ++i) head += "X: y\r\n";
        return head + "\r\n";
      },
      [](const std::string& head) { parse_head(head); });
}

std::string take(const std::string& fields, const std::string& bytes, size_t step,
                 size_t max = 1000) {
  try {
    HttpBody body(parse_head("POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"), max);
    for (size_t at = 0; at < bytes.size(); at += step) body.take(bytes.substr(at, step));
    return body.complete() ? body.finish() : "incomplete";
  } catch (const HttpError& error) {
    return std::to_string(error.status);
  }
}

std::string take_chunked(const std::string& bytes, size_t step = 1) {
  return take("Transfer-Encoding: chunked\r\n", bytes, step);
}

std::string zipped(const std::string& text, int window) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

TEST(HttpBodyTest, ByLengthAndInChunks) {
  for (const size_t step : {1, 2, 3, 7, 100}) {
    EXPECT_EQ(take("Content-Length: 5\r\n", "helloGET /", step), "hello");
    EXPECT_EQ(take_chunked("5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", step),
              "hello0123456789");
    EXPECT_EQ(take_chunked("000003 \t;a\r\nabc\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\nmore", step),
              "abc");
  }
  EXPECT_EQ(take("Content-Length: 5\r\n", "hell", 1), "incomplete");
  EXPECT_EQ(take_chunked("5\r\nhello\r\n"), "incomplete");
  EXPECT_EQ(take("Content-Length: 1001\r\n", "", 1), "413");
  EXPECT_EQ(take_chunked("3E9\r\n"), "413");
  EXPECT_EQ(take_chunked("FFFFFFFFFFFFFFFFFFFFF\r\n"), "413");
}

TEST(HttpBodyTest, RefusesBadChunks) {
  for (const char* bytes : {"zz\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", "\r\n", "1 1\r\n", "1\n",
                            "1 \r\n", "1\r\nab\r\n", "1\r\na\nb", "1\rx\r\n", ";a\r\n"})
    EXPECT_EQ(take_chunked(bytes), "400") << bytes;
  EXPECT_EQ(take_chunked("1;" + std::string(5000, 'x')), "400");
  std::string trailer = "0\r\n";
  for (int i = 0; i < 1000; ++i) trailer += "A: 0123456789\r\n";
  EXPECT_EQ(take_chunked(trailer), "431");
}

TEST(HttpBodyTest, Unzips) {
  const auto take_zipped = [](const std::string& bytes, const std::string& coding = "gzip") {
    const std::string length = std::to_string(bytes.size());
    return take("Content-Encoding: " + coding + "\r\nContent-Length: " + length + "\r\n", bytes,
                10);
  };
  const std::string text(900, 'a'), packed = zipped(text, 31);
  EXPECT_EQ(take_zipped(packed), text);
  EXPECT_EQ(take_zipped(zipped(text, 15), "deflate"), text);
  EXPECT_EQ(take_zipped(zipped("one", 31) + zipped("two", 31)), "onetwo");
  EXPECT_EQ(take_zipped(zipped(std::string(1001, 'a'), 31)), "413");
  EXPECT_EQ(take_zipped(packed.substr(0, packed.size() - 3)), "400");
  EXPECT_EQ(take_zipped(packed + "x"), "400");
  EXPECT_EQ(take_zipped("not zipped"), "400");
}

}  // namespace
}  // namespace um
