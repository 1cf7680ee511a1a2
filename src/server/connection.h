// Connection: one accepted socket, plain or TLS, as a stream for cpp-httplib. Non-blocking
// underneath, with deadlines; the head of a request is read and measured before it is parsed.
#pragma once

#include <httplib.h>

#include <chrono>
#include <memory>
#include <string>

namespace um {

struct ConnectionLimits {
  size_t max_header_bytes = 16 << 10;
  double read_timeout = 30, write_timeout = 30;
};

/// A server's certificate. Throws Error naming the file that cannot be used.
class TlsContext {
 public:
  TlsContext(const std::string& cert, const std::string& key);
  SSL_CTX* get() const { return context_.get(); }

 private:
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
};

class Connection : public httplib::Stream {
 public:
  /// Takes the socket and closes it in the end. `tls` may be null.
  Connection(int socket, const ConnectionLimits& limits, const TlsContext* tls);
  Connection(const Connection&) = delete;
  ~Connection() override;

  /// TLS handshake and the request's head. Returns 0, or the HTTP status to refuse with, or -1 if
  /// there is nobody to talk to.
  int open();
  /// A whole response for a request that was never parsed.
  void refuse(int status, const std::string& body);
  /// True once the other side has hung up.
  bool gone() const;
  /// Ends the sending side and waits shortly for the client to do the same, so that what was sent
  /// is not lost.
  void finish();

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* data, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  using httplib::Stream::write;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

  /// The connection that this thread is serving.
  static Connection* current();

 private:
  using Clock = std::chrono::steady_clock;

  bool handshake();
  bool wait_for(short events, Clock::time_point until) const;
  ssize_t receive(char* data, size_t size);
  ssize_t wait_tls(int result, Clock::time_point until);

  int socket_;
  ConnectionLimits limits_;
  std::unique_ptr<SSL, void (*)(SSL*)> tls_;
  Clock::time_point deadline_;  // for the whole request
  std::string head_;            // read ahead, not yet given to the parser
  size_t head_used_ = 0;
  bool broken_ = false;
};

}  // namespace um
