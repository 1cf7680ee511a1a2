// The listener: accepts connections and receives their requests, all on one thread, so that a
// client that sends slowly holds a socket and nothing else. A request that has come in whole is
// handed over to be answered; connections come back to be ended in order.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/connection.h"
#include "server/http_reader.h"
#include "server/http_record.h"

namespace um {

/// A request with the connection to answer it on.
struct Received {
  std::unique_ptr<Connection> connection;
  HttpRecord record;
  HttpReader request;  ///< with its body, unless nobody wanted that
};

struct ListenerLimits {
  size_t max_connections = 512;  ///< that are answered at once
  HttpLimits request = {};
  size_t held_bytes = 64 << 20;  ///< of requests that are not there yet, all together
  double read_timeout = 30;      ///< seconds for a whole request to come
};

/// What the listener calls, on its own thread; none may wait or throw.
struct ListenerCalls {
  std::function<bool(const HttpHead&)> wants_body;
  /// Whether it is answered even where max_connections are answered already.
  std::function<bool(const HttpHead&)> urgent;
  std::function<void(Received)> answer;
  /// The body of a refusal.
  std::function<std::string(const HttpRecord&, int status, const std::string& message)> error_body;
  HttpLog log;
};

class Listener {
 public:
  Listener(const ListenerLimits& limits, ListenerCalls calls);
  Listener(const Listener&) = delete;
  ~Listener();

  /// Opens the port (0: any free one) and returns it. Throws Error if it cannot be had.
  int bind(const std::string& host, int port);
  void use_tls(const TlsContext* tls) { tls_ = tls; }
  /// Works until stop(), and until all requests that were handed over have come back.
  void run();
  void stop();
  /// From any thread: an answered request's connection.
  void give_back(std::unique_ptr<Connection> connection);
  /// Refuses a request that was handed over, and logs that; give_back() still follows.
  void refuse(Connection& connection, HttpRecord& record, const HttpError& error,
              double patience) const;

 private:
  using Clock = std::chrono::steady_clock;
  /// A connection whose request is not there yet, or whose answer was given.
  struct Pending {
    std::unique_ptr<Connection> connection;
    HttpRecord record;
    Clock::time_point deadline;
    std::optional<HttpReader> request = {};  // none: what still comes is thrown away
  };

  void take_back();
  void wait(std::vector<bool>& ready, bool& incoming);
  void accept_all();
  void evict();
  void bound_held();
  bool advance(Pending& pending);
  bool receive(Pending& pending);
  bool hand_over(Pending& pending);
  bool end(Pending& pending, const HttpError& error);
  bool expire(Pending& pending);
  bool over() const;

  ListenerLimits limits_;
  ListenerCalls calls_;
  const TlsContext* tls_ = nullptr;
  int socket_ = -1, wake_ = -1;
  std::list<Pending> pending_;  // the oldest first
  std::atomic<size_t> answering_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> returned_;
};

}  // namespace um
