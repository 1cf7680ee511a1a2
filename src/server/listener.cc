// See listener.h.
#include "server/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr int kBacklog = 1024;     // connections that wait to be accepted
constexpr size_t kReserve = 32;    // requests that are received while max_connections are answered
constexpr size_t kUrgent = 8;      // answers to urgent requests beside them
constexpr double kEndSeconds = 2;  // for a client to take its answer and hang up
constexpr auto kLook = std::chrono::milliseconds(50);  // when there is no descriptor to accept with

std::chrono::steady_clock::time_point in(double seconds) {
  using Clock = std::chrono::steady_clock;
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// A socket that listens at this address, or -1.
int listen_at(const addrinfo& address) {
  const int socket =
      ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  // Not SO_REUSEPORT, by which two servers could share a port without noticing.
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket, address.ai_addr, address.ai_addrlen) == 0 && ::listen(socket, kBacklog) == 0)
    return socket;
  const int reason = errno;
  ::close(socket);
  errno = reason;
  return -1;
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  std::array<char, NI_MAXSERV> port{};
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
  ::getnameinfo(reinterpret_cast<sockaddr*>(&address), length, nullptr, 0, port.data(), port.size(),
                NI_NUMERICSERV);
  return std::atoi(port.data());
}

}  // namespace

Listener::Listener(const ListenerLimits& limits, ListenerCalls calls)
    : limits_(limits), calls_(std::move(calls)), wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  UM_CHECK(wake_ >= 0, "the server needs an eventfd: {}", std::strerror(errno));
}

Listener::~Listener() {
  if (socket_ >= 0) ::close(socket_);
  ::close(wake_);
}

int Listener::bind(const std::string& host, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  UM_CHECK(code == 0, "cannot listen on {}: {}", host, ::gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
  for (const addrinfo* at = found; at != nullptr && socket_ < 0; at = at->ai_next)
    socket_ = listen_at(*at);
  UM_CHECK(socket_ >= 0, "cannot listen on {}:{}: {}", host, port, std::strerror(errno));
  return port_of(socket_);
}

void Listener::run() {
  std::vector<bool> ready;
  bool incoming = false;
  while (!over()) {
    wait(ready, incoming);
    size_t i = 0;
    for (auto at = pending_.begin(); at != pending_.end(); ++i) {
      const bool late = Clock::now() >= at->deadline;
      // A client that never stops sending is late, too.
      const bool keeps = late ? expire(*at) : !ready[i] || advance(*at);
      at = keeps ? std::next(at) : pending_.erase(at);
    }
    if (incoming) accept_all();
    take_back();
  }
}

bool Listener::over() const {
  return stopped_ && answering_ == 0 && pending_.empty();
}

void Listener::stop() {
  stopped_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(wake_, &one, sizeof(one));
}

void Listener::give_back(std::unique_ptr<Connection> connection) {
  std::lock_guard lock(mutex_);
  returned_.push_back(std::move(connection));
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(wake_, &one, sizeof(one));
}

/// What was sent could be lost if the socket were closed while the client still sends.
void Listener::take_back() {
  std::vector<std::unique_ptr<Connection>> returned;
  {
    std::lock_guard lock(mutex_);
    returned.swap(returned_);
  }
  for (auto& connection : returned) {
    connection->end();
    pending_.push_back(
        {.connection = std::move(connection), .record = {}, .deadline = in(kEndSeconds)});
    --answering_;
  }
}

/// Waits for something to do: which pending connections are ready, and whether there are new ones.
void Listener::wait(std::vector<bool>& ready, bool& incoming) {
  if (stopped_)
    pending_.remove_if([](const Pending& pending) { return pending.request.has_value(); });
  std::vector<pollfd> entries{{wake_, POLLIN, 0}, {stopped_ ? -1 : socket_, POLLIN, 0}};
  auto next = in(60);
  for (const Pending& pending : pending_) {
    entries.push_back({pending.connection->socket(), pending.connection->awaited(), 0});
    next = std::min(next, pending.deadline);
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
  const int found =
      over() ? 0 : ::poll(entries.data(), entries.size(), static_cast<int>(std::max(left, 0L)));
  ready.assign(pending_.size(), false);
  incoming = found > 0 && entries[1].revents != 0;
  for (size_t i = 0; i < ready.size(); ++i) ready[i] = found > 0 && entries[i + 2].revents != 0;
  uint64_t count = 0;
  if (found > 0 && entries[0].revents != 0) {
    [[maybe_unused]] const ssize_t got = ::read(wake_, &count, sizeof(count));
  }
}

void Listener::accept_all() {
  for (int i = 0; i < kBacklog; ++i) {
    const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0 && (errno == EMFILE || errno == ENFILE)) {
      if (pending_.empty())
        std::this_thread::sleep_for(kLook);
      else
        evict();
      return;
    }
    if (socket < 0) return;
    const size_t room = limits_.max_connections + kReserve;
    if (pending_.size() >= std::max(room - std::min(room, answering_.load()), kReserve)) evict();
    auto connection = std::make_unique<Connection>(socket, tls_);
    HttpRecord record = HttpRecord::of(connection->peer());
    pending_.push_back({.connection = std::move(connection),
                        .record = std::move(record),
                        .deadline = in(limits_.read_timeout),
                        .request = HttpReader(limits_.request)});
  }
}

/// Makes room for a new connection: of the client that has most of them, the oldest goes, so that
/// one that opens many pushes out its own. Those that have their answer go first.
void Listener::evict() {
  std::map<std::string_view, size_t> connections;
  for (const Pending& pending : pending_) ++connections[pending.record.client];
  const auto rank = [&](const Pending& pending) {
    return std::pair(!pending.request, connections[pending.record.client]);
  };
  const auto victim =
      std::max_element(pending_.begin(), pending_.end(),
                       [&](const Pending& a, const Pending& b) { return rank(a) < rank(b); });
  if (victim->request)
    refuse(*victim->connection, victim->record, {503, "too many connections"}, 0);
  pending_.erase(victim);
}

/// Each of these is false where the entry is done with.
bool Listener::advance(Pending& pending) {
  if (!pending.request) return pending.connection->discard();
  try {
    return receive(pending);
  } catch (const HttpError& error) {
    return end(pending, error);
  }
}

bool Listener::receive(Pending& pending) {
  std::array<char, 1 << 16> buffer;
  const ssize_t count = pending.connection->receive(buffer.data(), buffer.size());
  if (count == Connection::kLater) return true;
  HttpReader& request = *pending.request;
  if (count < 0 || (count == 0 && !request.begun())) return false;
  if (count == 0) throw HttpError{400, "the request ends before its end"};
  std::string_view bytes(buffer.data(), static_cast<size_t>(count));
  const bool first = !request.has_head();
  if (first) {
    if (!request.take_head(bytes)) return true;
    bytes = {};
    pending.record.name(request.head());
    request.check_length();
    if (request.head().method != "POST" || !calls_.wants_body(request.head()))
      return hand_over(pending);
  }
  if (request.take_body(bytes)) return hand_over(pending);
  if (first && request.head().wants_continue)
    pending.connection->send("HTTP/1.1 100 Continue\r\n\r\n", std::chrono::seconds(0));
  bound_held();
  return true;
}

/// Ends requests that are not there yet until the others take no more than they may: of the client
/// that has sent most, those with most, the oldest first. Whoever sends one request is the last.
void Listener::bound_held() {
  const size_t limit = std::max(limits_.held_bytes, 2 * limits_.request.body_bytes);
  for (;;) {
    size_t all = 0;
    std::map<std::string_view, size_t> by_client;
    for (const Pending& pending : pending_) {
      if (!pending.request) continue;
      all += pending.request->held();
      by_client[pending.record.client] += pending.request->held();
    }
    if (all <= limit) return;
    const auto rank = [&](const Pending& pending) {
      return pending.request ? std::pair(by_client[pending.record.client], pending.request->held())
                             : std::pair(size_t{0}, size_t{0});
    };
    const auto victim =
        std::max_element(pending_.begin(), pending_.end(),
                         [&](const Pending& a, const Pending& b) { return rank(a) < rank(b); });
    end(*victim, {503, "too many requests whose bodies are not there yet"});
  }
}

bool Listener::hand_over(Pending& pending) {
  const size_t limit =
      limits_.max_connections + (calls_.urgent(pending.request->head()) ? kUrgent : 0);
  if (answering_ >= limit) throw HttpError{503, "too many connections"};
  ++answering_;
  calls_.answer(
      {std::move(pending.connection), std::move(pending.record), std::move(*pending.request)});
  return false;
}

void Listener::refuse(Connection& connection, HttpRecord& record, const HttpError& error,
                      double patience) const {
  const std::string body = calls_.error_body(record, error.status, error.message);
  HttpFields fields = {{"Content-Type", "application/json"},
                       {"Content-Length", std::to_string(body.size())},
                       {"X-Request-Id", record.id}};
  if (error.status == 503) fields.emplace_back("Retry-After", "1");
  record.status = error.status;
  record.whole = connection.send(response_head(error.status, fields) + body,
                                 std::chrono::duration<double>(patience));
  record.detail = fmt::format("message={}", quote(error.message));
  record.end();
  calls_.log(record);
}

bool Listener::end(Pending& pending, const HttpError& error) {
  refuse(*pending.connection, pending.record, error, 0);
  pending.connection->end();
  pending.request.reset();
  pending.deadline = in(kEndSeconds);
  return true;
}

bool Listener::expire(Pending& pending) {
  if (!pending.request || !pending.request->begun()) return false;
  return end(pending,
             {408, fmt::format("the request took more than {} s to come", limits_.read_timeout)});
}

}  // namespace um
