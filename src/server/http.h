// The HTTP side of the server: what handlers see of a request and a response, and the server that
// receives the ones (listener.h) and sends the others. One request per connection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http_record.h"

namespace um {

struct HttpRequest {
  std::string method, path, id, body;
  std::string host, own_address;  ///< that the client asks for, and that it has reached
  std::function<std::string(const std::string& name)> header;  ///< "" where there is none
  std::function<std::string(const std::string& name)> query;   ///< of the URL; "" likewise
  std::function<bool()> client_gone;                           ///< the client has hung up
};

/// Writes a part of a streamed body; false once the client cannot be reached.
using HttpWriter = std::function<bool(std::string_view)>;

/// What the log adds of an answer.
struct HttpNote {
  std::string text;
  int failure = 0;  ///< the status of an error that a stream ended with
};

struct HttpResponse {
  int status = 200;
  std::string body, content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  /// If set, writes the body piece by piece (chunked). False: the connection is cut off.
  std::function<bool(const HttpWriter&)> stream;
  std::function<HttpNote()> note = {};  ///< what the log adds, if set: asked for at the end
  std::string detail = {};              ///< and what it adds for those who look for faults
};

struct HttpOptions {
  std::string host = {};
  int port = 0;  ///< 0: any free one
  std::string tls_cert = {}, tls_key = {};
  size_t max_connections = 512;
  size_t max_body_bytes = 8 << 20;
  size_t max_header_bytes = 16 << 10;
  double read_timeout = 30, write_timeout = 30;  ///< seconds
};

struct HttpCalls {
  std::function<void(const HttpRequest&, HttpResponse&)> handle;
  /// Whether the body of a request should be read (else it is thrown away).
  std::function<bool(const HttpRequest&)> wants_body;
  /// Whether a request is answered even where max_connections are answered already.
  std::function<bool(const HttpRequest&)> urgent;
  /// The body of the answer to what never gets to the handler.
  std::function<std::string(const HttpRecord&, int status, const std::string& message)> error_body;
  HttpLog log;
};

class HttpServer {
 public:
  /// `handler` is called on many threads at once; none of the calls may throw.
  HttpServer(HttpOptions options, HttpCalls calls);
  HttpServer(const HttpServer&) = delete;
  ~HttpServer();

  /// Opens the port. Throws Error if it cannot be had, or the certificate cannot be read.
  void bind();
  int port() const;
  /// Serves until stop(), then waits for the requests that are being answered.
  void serve();
  /// Ends serve(), which runs on another thread or is about to.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace um
