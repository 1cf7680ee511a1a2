// The head of an HTTP/1 request, and what we refuse of it beside what Boost.Beast does: all that
// RFC 9110 and 9112 forbid, or that two readers could understand differently. And the head of a
// response.
#pragma once

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
  std::string method;
  std::string path;   ///< decoded, without the query
  std::string query;  ///< as it came, without the question mark
  std::string host;   ///< name and port; may be ""
  HttpFields fields;  ///< names in lower case
  bool http_1_0 = false;
  bool zipped = false;          ///< the body's coding is gzip or deflate
  bool wants_continue = false;  ///< the client waits for "100 Continue" before it sends the body

  /// The decoded value of a part NAME=VALUE of the query, "" where there is none.
  std::string query_value(std::string_view name) const;
  /// The value of a field, "" where there is none; of several the first.
  std::string field(std::string_view name) const;
};

/// `text` with A to Z, and nothing else, in lower case.
std::string ascii_lower(std::string_view text);

/// An ASCII character below the blank, or DEL.
bool is_control(char c);

/// Completes a head that has method, fields and version. `chunked`: how the body is read; `body`:
/// whether there is one. Throws HttpError.
void complete_head(std::string_view target, bool chunked, bool body, HttpHead& head);

/// The head of a response, after which the connection ends.
std::string response_head(int status, const HttpFields& fields);

/// "Name:port", "[::1]:80" without the port, in lower case.
std::string host_name(std::string_view host);

}  // namespace um
