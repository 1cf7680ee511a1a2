// Fuzz target: the head and body of an HTTP request. It is refused with HttpError, or read, and in
// small pieces as in one.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_reader.h"

namespace {

/// What is read of a request that comes in pieces of `step` bytes; or the status of its refusal.
std::string read(std::string_view text, size_t step) {
  um::HttpReader reader({.header_bytes = 16 << 10, .body_bytes = 1 << 16});
  try {
    for (size_t at = 0; at < text.size(); at += step) {
      std::string_view piece = text.substr(at, step);
      if (!reader.has_head()) {
        if (!reader.take_head(piece)) continue;
        piece = {};
      }
      if (!reader.take_body(piece)) continue;
      return reader.head().method + reader.head().path + reader.head().host + reader.finish();
    }
    return "incomplete";
  } catch (const um::HttpError& error) {
    return std::to_string(error.status);
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {"GET /v1/models/a%20b?x=1 HTTP/1.1\r\nHost: a:80\r\nAccept: */*\r\n\r\n",
          "POST http://[::1]/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
          "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          "3;a=\"b\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
          "OPTIONS * HTTP/1.0\r\nExpect: 100-continue\r\nContent-Encoding: gzip\r\n\r\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string whole = read(text, text.size() + 1);
  if (read(text, 1) != whole || read(text, 7) != whole) std::abort();
  return 0;
}
