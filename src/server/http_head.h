// The head of an HTTP/1 request, read strictly by RFC 9110 and 9112: what they forbid, or what two
// readers could understand differently, is refused. And the head of a response.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace um {

/// Why a request is refused before any route sees it; thrown.
struct HttpError {
  int status;
  std::string message;
};

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpHead {
  enum class Coding { kNone, kZlib };  // kZlib: gzip and deflate

  std::string method;
  std::string path;   ///< decoded, without the query
  std::string host;   ///< name and port; may be ""
  HttpFields fields;  ///< names in lower case
  bool http_1_0 = false;
  bool chunked = false;
  uint64_t content_length = 0;  ///< of the body where it is not chunked
  Coding coding = Coding::kNone;
  bool wants_continue = false;  ///< the client waits for "100 Continue" before it sends the body

  bool has_body() const { return chunked || content_length > 0; }
  /// The value of a field, "" where there is none; of several the first.
  std::string field(std::string_view name) const;
};

/// Where the head ends in what has come so far: the offset behind its empty line, or npos. A line
/// that ends otherwise than it must ends the head, too, so that it is refused at once.
size_t end_of_head(std::string_view received, size_t searched);

/// Reads a head with its empty line. Throws HttpError.
HttpHead parse_head(std::string_view text);

/// The head of a response, after which the connection ends.
std::string response_head(int status, const HttpFields& fields);

/// "Name:port", "[::1]:80" without the port, in lower case.
std::string host_name(std::string_view host);

}  // namespace um
