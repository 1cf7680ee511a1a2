// See connection.h.
#include "server/connection.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace um {
namespace {

thread_local Connection* this_connection = nullptr;

std::string tls_error() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

std::chrono::steady_clock::duration seconds(double value) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(value));
}

/// Fills the address of one end.
void address_of(int (*get)(int, sockaddr*, socklen_t*), int socket, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> service{};
  if (get(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  if (::getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host.data(), host.size(),
                    service.data(), service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host.data();
  port = std::atoi(service.data());
}

}  // namespace

TlsContext::TlsContext(const std::string& cert, const std::string& key)
    : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
  UM_CHECK(context_ != nullptr, "TLS: {}", tls_error());
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context_.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  UM_CHECK(SSL_CTX_use_certificate_chain_file(context_.get(), cert.c_str()) == 1,
           "{}: no certificate chain in PEM form: {}", cert, tls_error());
  UM_CHECK(SSL_CTX_use_PrivateKey_file(context_.get(), key.c_str(), SSL_FILETYPE_PEM) == 1,
           "{}: no private key in PEM form: {}", key, tls_error());
  UM_CHECK(SSL_CTX_check_private_key(context_.get()) == 1,
           "{}: the key does not belong to the certificate {}: {}", key, cert, tls_error());
}

Connection::Connection(int socket, const ConnectionLimits& limits, const TlsContext* tls)
    : socket_(socket),
      limits_(limits),
      tls_(nullptr, SSL_free),
      deadline_(Clock::now() + seconds(limits.read_timeout)) {
  ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL, 0) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (tls != nullptr) {
    tls_.reset(SSL_new(tls->get()));
    if (tls_ != nullptr) SSL_set_fd(tls_.get(), socket_);
    broken_ = tls_ == nullptr;
  }
  this_connection = this;
}

Connection::~Connection() {
  this_connection = nullptr;
  ::close(socket_);
}

Connection* Connection::current() {
  return this_connection;
}

bool Connection::wait_for(short events, Clock::time_point until) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd entry{socket_, events, 0};
    const int found = ::poll(&entry, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000)));
    if (found > 0) return true;
    if (found == 0 || errno != EINTR) return false;
  }
}

/// After an unfinished TLS call: 1 to try again, 0 at the end of the stream, -1 on failure.
ssize_t Connection::wait_tls(int result, Clock::time_point until) {
  const int error = SSL_get_error(tls_.get(), result);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return wait_for(POLLIN, until) ? 1 : -1;
  if (error == SSL_ERROR_WANT_WRITE) return wait_for(POLLOUT, until) ? 1 : -1;
  return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

bool Connection::handshake() {
  for (;;) {
    const int result = SSL_accept(tls_.get());
    if (result == 1) return true;
    if (wait_tls(result, deadline_) <= 0) return false;
  }
}

int Connection::open() {
  if (broken_ || (tls_ && !handshake())) return -1;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t count = receive(buffer.data(), buffer.size());
    if (count <= 0) return head_.empty() || count == 0 ? -1 : 408;
    const size_t searched = head_.size() < 3 ? 0 : head_.size() - 3;
    head_.append(buffer.data(), static_cast<size_t>(count));
    const size_t end = head_.find("\r\n\r\n", searched);
    if (std::min(end, head_.size()) > limits_.max_header_bytes) return 431;
    if (end != std::string::npos) return 0;
  }
}

void Connection::refuse(int status, const std::string& body) {
  const char* reason = status == 431   ? "Request Header Fields Too Large"
                       : status == 408 ? "Request Timeout"
                                       : "Service Unavailable";
  const std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
      "Retry-After: 1\r\nConnection: close\r\n\r\n{}",
      status, reason, body.size(), body);
  write(text.data(), text.size());
}

bool Connection::gone() const {
  pollfd entry{socket_, POLLRDHUP, 0};
  return broken_ || (::poll(&entry, 1, 0) > 0 &&
                     (entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0);
}

void Connection::finish() {
  if (tls_ && !broken_) SSL_shutdown(tls_.get());
  ::shutdown(socket_, SHUT_WR);
  const auto until = Clock::now() + std::chrono::milliseconds(500);
  std::array<char, 4096> buffer;
  while (wait_for(POLLIN, until)) {
    const ssize_t count = ::recv(socket_, buffer.data(), buffer.size(), 0);
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) break;
  }
}

bool Connection::is_readable() const {
  return head_used_ < head_.size() || (tls_ && SSL_pending(tls_.get()) > 0) ||
         wait_for(POLLIN, deadline_);
}

bool Connection::is_writable() const {
  return !broken_ && wait_for(POLLOUT, Clock::now() + seconds(limits_.write_timeout)) && !gone();
}

ssize_t Connection::read(char* data, size_t size) {
  if (head_used_ == head_.size()) return receive(data, size);
  const size_t count = std::min(size, head_.size() - head_used_);
  std::memcpy(data, head_.data() + head_used_, count);
  head_used_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::receive(char* data, size_t size) {
  for (;;) {
    // Also where there is always more to read: the time of a whole request is limited.
    if (broken_ || Clock::now() >= deadline_) return -1;
    if (tls_) {
      const int count =
          SSL_read(tls_.get(), data, static_cast<int>(std::min<size_t>(size, 1 << 20)));
      if (count > 0) return count;
      const ssize_t again = wait_tls(count, deadline_);
      if (again <= 0) return again;
      continue;
    }
    const ssize_t count = ::recv(socket_, data, size, 0);
    if (count >= 0) return count;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !wait_for(POLLIN, deadline_)) return -1;
  }
}

ssize_t Connection::write(const char* data, size_t size) {
  size_t done = 0;
  while (done < size && !broken_) {
    const auto until = Clock::now() + seconds(limits_.write_timeout);
    if (tls_) {
      const int count = SSL_write(tls_.get(), data + done,
                                  static_cast<int>(std::min<size_t>(size - done, 1 << 20)));
      if (count > 0)
        done += static_cast<size_t>(count);
      else
        broken_ = wait_tls(count, until) <= 0;
      continue;
    }
    const ssize_t count = ::send(socket_, data + done, size - done, MSG_NOSIGNAL);
    if (count >= 0)
      done += static_cast<size_t>(count);
    else if (errno == EAGAIN)
      broken_ = !wait_for(POLLOUT, until);
    else
      broken_ = errno != EINTR;
  }
  return broken_ ? -1 : static_cast<ssize_t>(size);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  address_of(::getpeername, socket_, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  address_of(::getsockname, socket_, ip, port);
}

}  // namespace um
