// See http.h.
#include "server/http.h"

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "server/connection.h"
#include "server/ids.h"

namespace um {
namespace {

constexpr size_t kMaxPath = 1024;       // beyond it the parser's regular expressions get deep
constexpr int kBacklog = 1024;          // connections that wait to be accepted
constexpr size_t kRefusingWorkers = 4;  // say "too many connections"

/// Threads that grow with the number of connections, to a limit.
class Workers : public httplib::TaskQueue {
 public:
  explicit Workers(size_t limit) : limit_(limit) {}

  void enqueue(std::function<void()> task) override {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (idle_ < tasks_.size() && threads_.size() < limit_)
      threads_.emplace_back([this] { work(); });
    ready_.notify_one();
  }

  void shutdown() override {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    ready_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      ready_.wait(lock, [&] { return ended_ || !tasks_.empty(); });
      --idle_;
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  size_t limit_, idle_ = 0;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
};

/// A connection with what the log is to say of its request.
class Exchange : public Connection {
 public:
  Exchange(int socket, const ConnectionLimits& limits, const TlsContext* tls)
      : Connection(socket, limits, tls) {
    record.id = random_id("req_");
    int port = 0;
    get_remote_ip_and_port(record.client, port);
  }
  /// That of this thread.
  static Exchange& current() { return static_cast<Exchange&>(*Connection::current()); }
  /// Writes the line.
  void end(const HttpLog& log) {
    record.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    if (note) record.note = note();
    log(record);
  }

  HttpRecord record;
  std::function<std::string()> note;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace

class HttpServer::Impl : public httplib::Server {
 public:
  Impl(HttpOptions options, HttpHandler handler, std::function<bool(const HttpRequest&)> keep_body,
       HttpErrorBody error_body, HttpLog log)
      : options_(std::move(options)),
        handler_(std::move(handler)),
        keep_body_(std::move(keep_body)),
        error_body_(std::move(error_body)),
        log_(std::move(log)) {
    new_task_queue = [this] { return new Workers(options_.max_connections + kRefusingWorkers); };
    // Not SO_REUSEPORT, by which two servers could share a port without noticing.
    set_socket_options([](socket_t socket) {
      const int on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    set_payload_max_length(options_.max_body_bytes);
    set_pre_routing_handler([this](const httplib::Request& in, httplib::Response& out) {
      if (in.method == "POST" && in.path.size() <= kMaxPath)
        return HandlerResponse::Unhandled;  // goes on below, where the body can be read
      handle(in, out, {});
      return HandlerResponse::Handled;
    });
    set_post_routing_handler([](const httplib::Request& in, httplib::Response& out) {
      HttpRecord& record = Exchange::current().record;
      if (record.method.empty()) note_request(in, record);
      record.status = out.status;
      out.set_header("X-Request-Id", record.id);
    });
    Post(".*", [this](const httplib::Request& in, httplib::Response& out,
                      const httplib::ContentReader& reader) { post(in, out, reader); });
    set_error_handler(HandlerWithResponse([this](const httplib::Request&, httplib::Response& out) {
      if (out.body.empty()) fail(out, out.status, "the request is not valid HTTP");
      return HandlerResponse::Handled;
    }));
    set_exception_handler([this](const httplib::Request&, httplib::Response& out,
                                 const std::exception_ptr&) { fail(out, 500, "internal error"); });
  }

  void bind() {
    if (!options_.tls_cert.empty()) tls_.emplace(options_.tls_cert, options_.tls_key);
    port_ = options_.port;
    const bool bound = port_ == 0 ? (port_ = bind_to_any_port(options_.host)) > 0
                                  : bind_to_port(options_.host, port_);
    UM_CHECK(bound, "cannot listen on {}:{}: the address is in use or not this machine's",
             options_.host, options_.port);
    ::listen(svr_sock_, kBacklog);  // the library asks for 5, too few for a burst
  }

  int port_ = 0;
  std::atomic<bool> ended_{false};

 private:
  bool process_and_close_socket(socket_t socket) override {
    const ConnectionLimits limits{.max_header_bytes = options_.max_header_bytes,
                                  .read_timeout = options_.read_timeout,
                                  .write_timeout = options_.write_timeout};
    Exchange connection(socket, limits, tls_ ? &*tls_ : nullptr);
    const size_t open = ++open_;
    const int status = open > options_.max_connections ? 503 : connection.open();
    connection.record.status = status;
    if (status == 0) {
      bool closed = false;
      process_request(connection, true, closed, nullptr);
    } else if (status > 0 && (!tls_ || status != 503)) {
      connection.refuse(status, error_body_(status, status == 503   ? "too many connections"
                                                    : status == 431 ? "the head is too large"
                                                                    : "the request took too long"));
    }
    if (status >= 0) connection.end(log_);
    if (status >= 0) connection.finish();
    --open_;
    return true;
  }

  void fail(httplib::Response& out, int status, const std::string& message) const {
    out.status = status;
    out.set_content(error_body_(status, message), "application/json");
  }

  static void note_request(const httplib::Request& in, HttpRecord& record) {
    record.method = in.method;
    record.path = in.path.substr(0, kMaxPath + 1);
    const std::string id = in.get_header_value("X-Request-Id");
    if (is_request_id(id)) record.id = id;
  }

  static HttpRequest convert(const httplib::Request& in) {
    HttpRecord& record = Exchange::current().record;
    note_request(in, record);
    return {.method = in.method,
            .path = record.path,
            .id = record.id,
            .body = {},
            .header = [&in](const std::string& name) { return in.get_header_value(name); },
            .query = [&in](const std::string& name) { return in.get_param_value(name); },
            .client_gone =
                [connection = Connection::current()] {
                  return connection == nullptr || connection->gone();
                }};
  }

  void handle(const httplib::Request& in, httplib::Response& out, std::string body) {
    HttpRequest request = convert(in);
    request.body = std::move(body);
    HttpResponse response;
    handler_(request, response);
    Exchange::current().note = std::move(response.note);
    Exchange::current().record.detail = std::move(response.detail);
    out.status = response.status;
    for (const auto& [name, value] : response.headers) out.set_header(name, value);
    if (!response.stream) {
      out.set_content(response.body, response.content_type);
      return;
    }
    out.set_chunked_content_provider(response.content_type, [stream = std::move(response.stream)](
                                                                size_t, httplib::DataSink& sink) {
      const bool whole =
          stream([&](std::string_view text) { return sink.write(text.data(), text.size()); });
      if (whole) sink.done();
      Exchange::current().record.whole = whole;
      return whole;
    });
  }

  void post(const httplib::Request& in, httplib::Response& out,
            const httplib::ContentReader& reader) {
    if (in.is_multipart_form_data()) return fail(out, 415, "expected a JSON body, found a form");
    const bool keep = keep_body_(convert(in));
    std::string body;
    bool large = false;
    // Also where the declared length is small: a compressed body may grow.
    size_t total = 0;
    const bool complete = reader([&](const char* data, size_t size) {
      total += size;
      large = total > options_.max_body_bytes;
      if (keep && !large) body.append(data, size);
      return !large;
    });
    if (large || out.status == 413)
      return fail(out, 413,
                  fmt::format("the body has more than {} bytes", options_.max_body_bytes));
    if (!complete) return fail(out, 400, "the body could not be read");
    handle(in, out, std::move(body));
  }

  HttpOptions options_;
  HttpHandler handler_;
  std::function<bool(const HttpRequest&)> keep_body_;
  HttpErrorBody error_body_;
  HttpLog log_;
  std::optional<TlsContext> tls_;
  std::atomic<size_t> open_{0};
};

HttpServer::HttpServer(HttpOptions options, HttpHandler handler,
                       std::function<bool(const HttpRequest&)> keep_body, HttpErrorBody error_body,
                       HttpLog log)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler), std::move(keep_body),
                                   std::move(error_body), std::move(log))) {}
HttpServer::~HttpServer() = default;

void HttpServer::bind() {
  impl_->bind();
}

int HttpServer::port() const {
  return impl_->port_;
}

void HttpServer::serve() {
  impl_->listen_after_bind();
  impl_->ended_ = true;
}

void HttpServer::stop() {
  // The library forgets a stop that comes before it has begun to listen.
  while (!impl_->ended_ && !impl_->is_running())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  impl_->stop();
}

}  // namespace um
