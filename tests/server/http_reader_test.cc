// The head of a request by RFC 9110 and 9112, and bodies by length, in chunks and zipped.
#include "server/http_reader.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <map>

#include "tests/core/linear_util.h"

namespace um {
namespace {

HttpHead parse_head(const std::string& text) {
  HttpReader reader(HttpLimits{});
  EXPECT_TRUE(reader.take_head(text)) << text;
  return reader.head();
}

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
  EXPECT_EQ(host_name("[::1]:80"), "[::1]");

  const HttpHead absolute = parse_head("GET http://b:1/x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(absolute.host + absolute.path, "b:1/x");
  EXPECT_EQ(parse_head("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
  EXPECT_TRUE(parse_head("GET / HTTP/1.0\r\n\r\n").http_1_0);
  EXPECT_EQ(parse_head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*");
  const std::string waits = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n";
  EXPECT_TRUE(parse_head(waits + "Content-Length: 7\r\n\r\n").wants_continue);
  EXPECT_TRUE(parse_head(waits + "Transfer-Encoding: Chunked\r\n\r\n").wants_continue);
  EXPECT_FALSE(parse_head(waits + "Content-Length: 0\r\n\r\n").wants_continue);
  EXPECT_EQ(parse_head("\r\n\r\nGET / HTTP/1.0\r\n\r\n").path, "/");
}

TEST(HttpHead, IsBounded) {
  const auto refusal_of = [](const std::string& text) {
    HttpReader reader({.header_bytes = 9000, .body_bytes = 0});
    try {
      return reader.take_head(text) ? 0 : 1;
    } catch (const HttpError& error) {
      return error.status;
    }
  };
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n", end = "\r\n\r\n";
  EXPECT_EQ(refusal_of(start + "X: " + std::string(8900, 'x') + end), 0);
  EXPECT_EQ(refusal_of(start + "X: " + std::string(9000, 'x') + end), 431);
  EXPECT_EQ(refusal_of(start + "X: " + std::string(9000, 'x')), 431);
  EXPECT_EQ(refusal_of("GET /" + std::string(9000, 'x')), 414);
}

TEST(HttpHead, RefusesBadFirstLines) {
  for (const char* line :
       {"NONSENSE", "GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/11", "GET /a b HTTP/1.1", "GET x HTTP/1.1", "GET * HTTP/1.1",
        "G(T / HTTP/1.1", "GET /#a HTTP/1.1", "GET /%zz HTTP/1.1", "GET /% HTTP/1.1",
        "GET /\x01 HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", "GET http:// HTTP/1.1",
        "GET http://a@b c/ HTTP/1.1", ""})
    EXPECT_EQ(refusal(std::string(line) + "\r\nHost: a\r\n\r\n"), 400) << line;
  for (const char* version : {"0.9", "1.2", "2.0"})
    EXPECT_EQ(refusal(std::string("GET / HTTP/") + version + "\r\nHost: a\r\n\r\n"), 505);
  for (const char* method : {"CONNECT", "TRACE", "FOO", "get", "PRI"})
    EXPECT_EQ(refusal(std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n"), 501) << method;
}

TEST(HttpHead, RefusesWhatCanBeReadInTwoWays) {
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\n\r\n"), 400);  // no host
  EXPECT_EQ(refusal_of_fields("Host: a\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("Host: b\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
  for (const char* version : {"1.0", "1.1"})
    EXPECT_EQ(refusal("GET / HTTP/" + std::string(version) + "\r\nHost: \r\n\r\n"), 400);
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
  EXPECT_EQ(refusal_of_fields(huge), 400);
}

TEST(HttpHead, RefusesCodingsThatBeastTakesForChunked) {
  for (const char* value : {"chunked;q=1", "chunked x", "chunked,", ",chunked", "x, chunked"})
    EXPECT_EQ(refusal_of_fields(std::string("Transfer-Encoding: ") + value + "\r\n"), 501) << value;
  EXPECT_EQ(refusal_of_fields("Transfer-Encoding: x\r\nContent-Length: 5\r\n"), 400);
  EXPECT_EQ(refusal_of_fields("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), 400);
}

TEST(HttpHead, ItsEndIsFoundInAnyPieces) {
  const std::string head = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", text = head + "body\r\n\r\n";
  for (size_t cut = 0; cut <= head.size(); ++cut) {
    HttpReader reader(HttpLimits{});
    EXPECT_EQ(reader.take_head(text.substr(0, cut)), cut == head.size());
    EXPECT_EQ(reader.begun(), cut != 0 && cut != 2);
    EXPECT_TRUE(reader.has_head() || reader.take_head(text.substr(cut)));
    EXPECT_EQ(reader.head().fields.size(), 1u);
  }
  EXPECT_EQ(refusal("GET / HTTP/1.1\n"), 400);  // at its first line
}

/// A proxy that filters by path could read another one.
TEST(HttpHead, PathsHaveOneReading) {
  for (const std::string path : {"/v1%2fmodels", "/v1%2Fmodels", "/v1/models%00", "/v1%5cmodels",
                                 "/v1%5Cmodels", "/v1\\models", "/v1/%0d%0amodels", "/%7f"}) {
    EXPECT_EQ(refusal("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"), 400) << path;
    EXPECT_EQ(refusal("GET http://a" + path + " HTTP/1.1\r\nHost: a\r\n\r\n"), 400) << path;
  }
  for (const std::string target : {"/v1/%6dodels", "/a%252fb", "/x?y=%2f%5c%00", "/%c3%bc"})
    EXPECT_EQ(refusal("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"), 0) << target;
}

TEST(HttpHead, ARefusalSaysWhatIsWrong) {
  for (const auto& [text, message] : std::map<std::string, std::string>{
           {"GET / HTTP/1.1\n", "a line of the head does not end in CR LF"},
           {"GET / HTTP/1.1\r\nX: \x01\r\n\r\n",
            "a header field has a value that it must not have"},
           {"GET / HTTP/1.1\r\nX : y\r\n\r\n", "a header line is no NAME: VALUE"},
           {"GET /\r\n\r\n", "the request's target has characters that it must not have"},
           {"GET / \r\n\r\n", "the first line does not end in HTTP/1.1 or HTTP/1.0"}}) {
    HttpReader reader(HttpLimits{});
    try {
      reader.take_head(text);
      ADD_FAILURE() << text;
    } catch (const HttpError& error) {
      EXPECT_EQ(error.message, message);
    }
  }
}

/// The body of such a request that comes in pieces of `step` bytes, or the status of its refusal.
std::string take(const std::string& fields, const std::string& bytes, size_t step,
                 size_t max = 1000) {
  const std::string text = "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + bytes;
  HttpReader reader({.header_bytes = 1 << 20, .body_bytes = max});
  try {
    bool whole = false;
    for (size_t at = 0; at < text.size() && !whole; at += step) {
      const std::string_view piece = std::string_view(text).substr(at, step);
      if (reader.has_head())
        whole = reader.take_body(piece);
      else if (reader.take_head(piece))
        whole = reader.take_body("");
    }
    return whole ? reader.finish() : "incomplete";
  } catch (const HttpError& error) {
    return std::to_string(error.status);
  }
}

std::string take_chunked(const std::string& bytes, size_t step = 1, size_t max = 50000) {
  return take("Transfer-Encoding: chunked\r\n", bytes, step, max);
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
  EXPECT_EQ(take_chunked("3E9\r\n", 1, 1000), "413");
  EXPECT_EQ(take_chunked("FFFFFFFFFFFFFFFF\r\n"), "413");
  EXPECT_EQ(take_chunked("FFFFFFFFFFFFFFFFFFFFF\r\n"), "400");  // no number of ours
  const std::string large(3 << 20, 'x');
  EXPECT_EQ(take("Content-Length: 3145728\r\n", large, 1 << 16, 4 << 20), large);
  EXPECT_EQ(take("Transfer-Encoding: chunked\r\n", "300000\r\n" + large + "\r\n0\r\n\r\n", 1 << 16,
                 4 << 20),
            large);
}

TEST(HttpBodyTest, RefusesBadChunks) {
  for (const char* bytes :
       {"zz\r\n", "-1\r\n", "+1\r\n", "0x1\r\n\r\n", "\r\n", "1 1\r\n", "1\na\r\n", "1 \r\n",
        "1\r\nab\r\n0\r\n", "1\r\na\n0\r\n", "1\rx\r\n", ";a\r\n", "1;\r\n", "1;a=\"\n\"\r\n",
        "1;a=\"\x7f\"\r\n", "1;a=\"\r\na\r\n\"\r\n", "0;a=\"\x01\"\r\n\r\n", "0\n\r\n\r\n"})
    for (const size_t step : {1, 3, 100}) EXPECT_EQ(take_chunked(bytes, step), "400") << bytes;
}

TEST(HttpBodyTest, ATrailerIsReadAndLeftOut) {
  HttpReader reader(HttpLimits{});
  EXPECT_TRUE(reader.take_head(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n"));
  EXPECT_TRUE(reader.take_body(""));
  EXPECT_EQ(reader.head().field("x"), "");
  for (const char* line :
       {"no colon", "X : y", "X: a\nb", "X: \x01", "Content-Length: 5",
        "Transfer-Encoding: chunked", " X: y", "\tX: y", "X: y\r\n z", "X: y\r\n\tz", "X: y\r\n ",
        "X: y\n z", "X: y\nZ: y", "X: y\n", "\nX: y"})
    for (const size_t step : {1, 3, 100})
      for (const char* chunk : {"", "2\r\na\n\r\n"})
        EXPECT_EQ(take_chunked(std::string(chunk) + "0\r\n" + line + "\r\n\r\n", step), "400")
            << line;
  // Refused as soon as it has come; what is data is not looked at.
  EXPECT_EQ(take_chunked("0\r\nX: y\n"), "400");
  EXPECT_EQ(take_chunked("0\r\nX: y\r\n\t"), "400");
  EXPECT_EQ(take_chunked("6\r\na\n\r\n b\r\n0\r\nX:  y \r\n\r\n", 3), "a\n\r\n b");
}

TEST(HttpBodyTest, WhatIsBetweenItsBytesIsBounded) {
  for (const size_t step : {1, 1000, 1 << 20}) {
    EXPECT_EQ(take_chunked("1;" + std::string(10000, 'x'), step), "431");
    EXPECT_EQ(take_chunked("1;" + std::string(10000, 'x') + "\r\na\r\n", step), "431");
    EXPECT_EQ(take_chunked("1;" + std::string(8000, 'x') + "\r\na\r\n0\r\n\r\n", step), "a");
    std::string trailer = "0\r\n";
    for (int i = 0; i < 1000; ++i) trailer += "A: 0123456789\r\n";
    EXPECT_EQ(take_chunked(trailer, step), "431");
    EXPECT_EQ(take_chunked(trailer + "\r\n", step), "431");
  }
}

TEST(HttpBodyTest, TimeIsLinearInPieces) {
  const auto repeat = [](const char* part, const char* end) {
    return [part, end](size_t size) {
      std::string text;
      for (size_t i = 0; i < size; ++i) text += part;
      return text + end;
    };
  };
  expect_linear(10000, repeat("X: y\r\n", ""),
                [](const std::string& fields) { take(fields, "", 1); });
  expect_linear(10000, repeat("1;a\r\nx\r\n", "0\r\n\r\n"),
                [](const std::string& chunks) { take_chunked(chunks); });
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
  for (const std::string& behind : {std::string("x"), std::string(3, '\0'), std::string("\x1f"),
                                    std::string("\x1f\x8b"), zipped("two", 15)})
    for (const std::string& first : {packed, zipped(text, 15)})
      EXPECT_EQ(take_zipped(first + behind), "400");
  EXPECT_EQ(take_zipped(zipped("one", 15) + zipped("two", 31), "deflate"), "400");
  EXPECT_EQ(take_zipped("not zipped"), "400");
}

TEST(HttpHead, ReadsTheQuery) {
  const HttpHead head = parse_head("GET /p%20q?a=1&b=x+y%26z&c HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(head.path, "/p q");
  EXPECT_EQ(head.query_value("a"), "1");
  EXPECT_EQ(head.query_value("b"), "x y&z");
  EXPECT_EQ(head.query_value("c"), "");
  EXPECT_EQ(head.query_value("d"), "");
  EXPECT_THROW(parse_head("GET /?a=%zz HTTP/1.1\r\nHost: h\r\n\r\n"), HttpError);
}

}  // namespace
}  // namespace um
