// The HTTP side of the server: what handlers see of a request and a response, and the listener. It
// is cpp-httplib with our own connections under it, which bound what a client may do: size and time
// of a request, time of a blocked write, number of connections. One request per connection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace um {

struct HttpRequest {
  std::string method, path, id, body;
  std::function<std::string(const std::string& name)> header;  ///< "" where there is none
  std::function<std::string(const std::string& name)> query;   ///< of the URL; "" likewise
  std::function<bool()> client_gone;                           ///< the client has hung up
};

/// One request in the log, once its answer is written or nobody takes it any more.
struct HttpRecord {
  std::string id;            ///< of its X-Request-Id if that is usable, else a new one
  std::string client;        ///< the address
  std::string method, path;  ///< empty where none could be read
  int status = 0;
  bool whole = true;  ///< false: the answer was cut off
  double seconds = 0;
  std::string note, detail;  ///< see HttpResponse
};
using HttpLog = std::function<void(const HttpRecord&)>;

/// Writes a part of a streamed body; false once the client cannot be reached.
using HttpWriter = std::function<bool(std::string_view)>;

struct HttpResponse {
  int status = 200;
  std::string body, content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  /// If set, writes the body piece by piece (chunked). False: the connection is cut off.
  std::function<bool(const HttpWriter&)> stream;
  std::function<std::string()> note = {};  ///< what the log adds, if set: asked for at the end
  std::string detail = {};                 ///< and what it adds for those who look for faults
};

using HttpHandler = std::function<void(const HttpRequest&, HttpResponse&)>;

struct HttpOptions {
  std::string host;
  int port = 0;  ///< 0: any free one
  std::string tls_cert, tls_key;
  size_t max_connections = 512;
  size_t max_body_bytes = 8 << 20;
  size_t max_header_bytes = 16 << 10;
  double read_timeout = 30, write_timeout = 30;  ///< seconds
};

/// The answer to what never gets to a handler, as (status, message) → JSON.
using HttpErrorBody = std::function<std::string(int status, const std::string& message)>;

class HttpServer {
 public:
  /// `keep_body` says whether the body of a request should be read (else it is thrown away).
  /// `log` hears of every request. All are called on many threads at once and must not throw.
  HttpServer(HttpOptions options, HttpHandler handler,
             std::function<bool(const HttpRequest&)> keep_body, HttpErrorBody error_body,
             HttpLog log);
  HttpServer(const HttpServer&) = delete;
  ~HttpServer();

  /// Opens the port. Throws Error if it cannot be had, or the certificate cannot be read.
  void bind();
  int port() const;
  /// Serves until stop(), then waits for the connections that are open.
  void serve();
  /// Ends serve(), which runs on another thread or is about to.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace um
