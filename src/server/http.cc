// See http.h.
#include "server/http.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "server/listener.h"

namespace um {
namespace {

/// Threads that grow with the number of tasks; the listener bounds it.
class Workers {
 public:
  Workers() = default;
  Workers(const Workers&) = delete;
  ~Workers() {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    ready_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void enqueue(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (idle_ < tasks_.size()) threads_.emplace_back([this] { work(); });
    ready_.notify_one();
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

  size_t idle_ = 0;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
};

/// Each connection takes a descriptor; the usual limit is 1,024 of them.
void allow_descriptors(size_t count) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, count);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, HttpCalls calls)
      : options_(std::move(options)),
        calls_(std::move(calls)),
        patience_(options_.write_timeout),
        listener_(
            {.max_connections = options_.max_connections,
             .request = {options_.max_header_bytes, options_.max_body_bytes},
             .read_timeout = options_.read_timeout},
            {.wants_body =
                 [this](const HttpHead& head) {
                   return calls_.wants_body(request_of(head, nullptr));
                 },
             .urgent =
                 [this](const HttpHead& head) { return calls_.urgent(request_of(head, nullptr)); },
             .answer = [this](Received received) { enqueue(std::move(received)); },
             .error_body = calls_.error_body,
             .log = calls_.log}) {
    allow_descriptors(2 * options_.max_connections + 512);
  }

  void bind() {
    if (!options_.tls_cert.empty()) tls_.emplace(options_.tls_cert, options_.tls_key);
    listener_.use_tls(tls_ ? &*tls_ : nullptr);
    port_ = listener_.bind(options_.host, options_.port);
  }

  int port_ = 0;
  Listener& listener() { return listener_; }

 private:
  /// `head` and `connection`, which may be null, must outlive the request.
  static HttpRequest request_of(const HttpHead& head, const Connection* connection) {
    return {.method = head.method,
            .path = head.path,
            .id = {},
            .body = {},
            .host = head.host,
            .own_address = connection != nullptr ? connection->own_address() : "",
            .header = [&head](const std::string& name) { return head.field(name); },
            .query = [&head](const std::string& name) { return head.query_value(name); },
            .client_gone = [connection] { return connection != nullptr && connection->gone(); }};
  }

  void enqueue(Received received) {
    // A std::function has to be copied.
    auto shared = std::make_shared<Received>(std::move(received));
    workers_.enqueue([this, shared] {
      try {
        answer(*shared);
      } catch (const std::exception&) {
        // Out of memory in the middle of an answer: it is cut off, which the client notices.
      }
      listener_.give_back(std::move(shared->connection));
    });
  }

  void answer(Received& received) {
    Connection& connection = *received.connection;
    const HttpHead& head = received.request.head();
    HttpRequest request = request_of(head, &connection);
    request.id = received.record.id;
    try {
      request.body = received.request.finish();
    } catch (const HttpError& error) {
      return listener_.refuse(connection, received.record, error, options_.write_timeout);
    }
    HttpResponse response;
    calls_.handle(request, response);
    HttpRecord& record = received.record;
    response.headers.emplace_back("X-Request-Id", record.id);
    record.status = response.status;
    record.whole = send(connection, head, response);
    if (response.note) {
      HttpNote note = response.note();
      record.note = std::move(note.text);
      record.failure = note.failure;
    }
    record.detail = std::move(response.detail);
    record.end();
    calls_.log(record);
  }

  /// False where the answer was cut off.
  bool send(Connection& connection, const HttpHead& head, const HttpResponse& response) const {
    HttpFields fields = response.headers;
    const bool chunked = response.stream && !head.http_1_0;
    if (response.status != 204) fields.emplace_back("Content-Type", response.content_type);
    if (chunked)
      fields.emplace_back("Transfer-Encoding", "chunked");
    else if (!response.stream && response.status != 204)
      fields.emplace_back("Content-Length", std::to_string(response.body.size()));
    std::string text = response_head(response.status, fields);
    if (!response.stream) {
      if (head.method != "HEAD" && response.status != 204) text += response.body;
      return connection.send(text, patience_);
    }
    if (!connection.send(text, patience_)) return false;
    const bool whole = response.stream([&](std::string_view part) {
      if (part.empty()) return true;  // an empty chunk would be the end
      if (!chunked) return connection.send(part, patience_);
      return connection.send(fmt::format("{:x}\r\n{}\r\n", part.size(), part), patience_);
    });
    return whole && (!chunked || connection.send("0\r\n\r\n", patience_));
  }

  HttpOptions options_;
  HttpCalls calls_;
  std::chrono::duration<double> patience_;
  std::optional<TlsContext> tls_;
  Listener listener_;
  Workers workers_;
};

HttpServer::HttpServer(HttpOptions options, HttpCalls calls)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(calls))) {}
HttpServer::~HttpServer() = default;

void HttpServer::bind() {
  impl_->bind();
}

int HttpServer::port() const {
  return impl_->port_;
}

void HttpServer::serve() {
  impl_->listener().run();
}

void HttpServer::stop() {
  impl_->listener().stop();
}

}  // namespace um
