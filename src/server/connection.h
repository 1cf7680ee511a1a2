// Connection: one accepted socket, plain or TLS, non-blocking underneath. It is received from by
// the listener's thread, and then written to by the thread that answers.
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace um {

/// A server's certificate. Throws Error naming the file that cannot be used.
class TlsContext {
 public:
  TlsContext(const std::string& cert, const std::string& key);
  SSL_CTX* get() const { return context_.get(); }

 private:
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
};

class Connection {
 public:
  static constexpr ssize_t kBroken = -1, kLater = -2;

  /// Takes the socket and closes it in the end. `tls` may be null.
  Connection(int socket, const TlsContext* tls);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// What has come, without waiting: the number of bytes, 0 at the end of the stream, kBroken, or
  /// kLater where nothing is there yet. A TLS handshake comes first by itself.
  ssize_t receive(char* data, size_t size);
  /// What poll() has to wait for before receive() is worth calling.
  short awaited() const { return awaited_; }
  /// Sends all of `text`, waiting at most `patience` for the client to take any of it. False, now
  /// and from then on, once that failed.
  bool send(std::string_view text, std::chrono::duration<double> patience);
  /// Ends the sending side.
  void end();
  /// Throws away what has come after end(); true while more may come.
  bool discard();
  /// True once the other side has hung up.
  bool gone() const;

  int socket() const { return socket_; }
  /// The addresses of the two ends, without ports.
  std::string peer() const;
  std::string own_address() const;

 private:
  ssize_t after_tls(int result);

  int socket_;
  std::unique_ptr<SSL, void (*)(SSL*)> tls_;
  short awaited_;
  bool broken_ = false;
};

}  // namespace um
