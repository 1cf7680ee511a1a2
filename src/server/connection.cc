// See connection.h.
#include "server/connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/error.h"
#include "core/input_file.h"

namespace um {
namespace {

constexpr size_t kMaxCall = 1 << 20;  // bytes of one call of the TLS library, which counts in int

std::string tls_error() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

std::string address_of(int (*get)(int, sockaddr*, socklen_t*), int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  std::array<char, NI_MAXHOST> host{};
  if (get(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host.data(), host.size(),
                    nullptr, 0, NI_NUMERICHOST) != 0)
    return "";
  return host.data();
}

}  // namespace

TlsContext::TlsContext(const std::string& cert, const std::string& key)
    : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
  check_input_file(cert);
  check_input_file(key);
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

Connection::Connection(int socket, const TlsContext* tls)
    : socket_(socket), tls_(nullptr, SSL_free), awaited_(POLLIN) {
  ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL, 0) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (tls == nullptr) return;
  tls_.reset(SSL_new(tls->get()));
  broken_ = tls_ == nullptr || SSL_set_fd(tls_.get(), socket_) != 1;
  if (!broken_) SSL_set_accept_state(tls_.get());
}

Connection::~Connection() {
  ::close(socket_);
}

/// After a TLS call that did nothing: kLater with what to wait for, 0 at the end, or kBroken.
ssize_t Connection::after_tls(int result) {
  const int error = SSL_get_error(tls_.get(), result);
  ERR_clear_error();
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  broken_ = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
  awaited_ = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
  return broken_ ? kBroken : kLater;
}

ssize_t Connection::receive(char* data, size_t size) {
  if (broken_) return kBroken;
  if (tls_) {
    const int count = SSL_read(tls_.get(), data, static_cast<int>(std::min(size, kMaxCall)));
    return count > 0 ? count : after_tls(count);
  }
  for (;;) {
    const ssize_t count = ::recv(socket_, data, size, 0);
    if (count >= 0) return count;
    if (errno == EAGAIN) return kLater;
    if (errno != EINTR) break;
  }
  broken_ = true;
  return kBroken;
}

bool Connection::send(std::string_view text, std::chrono::duration<double> patience) {
  using Clock = std::chrono::steady_clock;
  auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(patience);
  while (!text.empty() && !broken_) {
    ssize_t count = 0;
    if (tls_) {
      count = SSL_write(tls_.get(), text.data(), static_cast<int>(std::min(text.size(), kMaxCall)));
      if (count <= 0 && after_tls(static_cast<int>(count)) == 0) broken_ = true;
    } else {
      count = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      broken_ = count < 0 && errno != EAGAIN && errno != EINTR;
      awaited_ = POLLOUT;
    }
    if (count > 0) {
      text.remove_prefix(static_cast<size_t>(count));
      until = Clock::now() + std::chrono::duration_cast<Clock::duration>(patience);
      continue;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd entry{socket_, awaited_, 0};
    const int found = ::poll(&entry, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000)));
    if (found == 0 && Clock::now() >= until) broken_ = true;
  }
  return !broken_;
}

void Connection::end() {
  if (tls_ && !broken_) SSL_shutdown(tls_.get());
  ERR_clear_error();
  ::shutdown(socket_, SHUT_WR);
  awaited_ = POLLIN;
}

bool Connection::discard() {
  std::array<char, 1 << 16> buffer;
  const ssize_t count = ::recv(socket_, buffer.data(), buffer.size(), 0);
  return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
}

bool Connection::gone() const {
  pollfd entry{socket_, POLLRDHUP, 0};
  return broken_ || (::poll(&entry, 1, 0) > 0 &&
                     (entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0);
}

std::string Connection::peer() const {
  return address_of(::getpeername, socket_);
}

std::string Connection::own_address() const {
  return address_of(::getsockname, socket_);
}

}  // namespace um
