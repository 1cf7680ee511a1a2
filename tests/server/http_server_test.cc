// The HTTP server over real sockets with a stub in place of the routes: what comes back, byte for
// byte, and who is served while others hold connections.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/http.h"

namespace um {
namespace {

using namespace std::chrono_literals;

class Client {
 public:
  explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool connected =
        ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    EXPECT_TRUE(connected);
  }
  Client(const Client&) = delete;
  ~Client() { ::close(socket_); }

  Client& send(const std::string& text) {
    EXPECT_EQ(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
    return *this;
  }
  /// All that comes until the server ends the connection, or for so long.
  std::string receive(std::chrono::milliseconds time = 5s) {
    std::string text;
    char buffer[4096];
    pollfd entry{socket_, POLLIN, 0};
    while (::poll(&entry, 1, static_cast<int>(time.count())) > 0) {
      const ssize_t count = ::recv(socket_, buffer, sizeof(buffer), 0);
      if (count <= 0) break;
      text.append(buffer, static_cast<size_t>(count));
    }
    return text;
  }
  bool ended() {
    char byte = 0;
    pollfd entry{socket_, POLLIN, 0};
    return ::poll(&entry, 1, 5000) > 0 && ::recv(socket_, &byte, 1, 0) <= 0;
  }

 private:
  int socket_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void start(HttpOptions options = {}) {
    options.host = "127.0.0.1";
    server_.emplace(
        options,
        HttpCalls{.handle = [this](const HttpRequest& request,
                                   HttpResponse& response) { handle(request, response); },
                  .wants_body = [](const HttpRequest& request) { return request.path != "/no"; },
                  .urgent = [](const HttpRequest& request) { return request.path == "/health"; },
                  .error_body =
                      [](const HttpRecord&, int status, const std::string& message) {
                        return std::to_string(status) + ": " + message;
                      },
                  .log =
                      [this](const HttpRecord& record) {
                        const std::lock_guard lock(log_mutex_);
                        log_.push_back(record);
                      }});
    server_->bind();
    thread_ = std::thread([this] { server_->serve(); });
  }
  void TearDown() override {
    released_ = true;
    if (!server_) return;
    server_->stop();
    thread_.join();
  }

  void handle(const HttpRequest& request, HttpResponse& response) {
    response.content_type = "text/plain";
    if (request.path == "/wait")
      while (!released_) std::this_thread::sleep_for(1ms);
    if (request.path == "/until-gone")
      while (!released_ && !request.client_gone()) std::this_thread::sleep_for(1ms);
    if (request.path == "/until-gone") gone_ = true;
    if (request.path == "/stream")
      response.stream = [](const HttpWriter& write) {
        return write("one") && write("") && write("two");
      };
    response.body = request.method + " " + request.path + " " + request.body;
  }

  std::string ask(const std::string& text) { return Client(server_->port()).send(text).receive(); }
  static std::string get(const std::string& path) {
    return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  static std::string body_of(const std::string& answer) {
    const size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? answer : answer.substr(end + 4);
  }
  static std::string status_of(const std::string& answer) { return answer.substr(0, 12); }

  std::mutex log_mutex_;
  std::vector<HttpRecord> log_;
  std::optional<HttpServer> server_;
  std::thread thread_;
  std::atomic<bool> released_{false}, gone_{false};
};

TEST_F(HttpServerTest, Answers) {
  start();
  const std::string answer = ask(get("/a?b"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\nDate: ")) << answer;
  EXPECT_NE(answer.find("\r\nContent-Length: 7\r\n"), std::string::npos) << answer;
  EXPECT_EQ(body_of(answer), "GET /a ");
  EXPECT_EQ(body_of(ask("\r\n" + get("/a"))), "GET /a ");  // an empty line before it
  EXPECT_EQ(body_of(ask("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")), "");
  EXPECT_EQ(body_of(ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")),
            "POST /a hi");
  EXPECT_EQ(body_of(ask("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n")),
            "POST /a hi");
  EXPECT_EQ(body_of(ask(get("/stream"))), "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
  const std::string old = ask("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(body_of(old), "onetwo");  // HTTP/1.0 knows no chunks
  EXPECT_EQ(old.find("Transfer-Encoding"), std::string::npos);
  // Ranges are not offered: the answer is whole.
  EXPECT_EQ(body_of(ask("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n")), "GET /a ");
  // What comes after a request is not taken for another one.
  const std::string two = ask(get("/a") + get("/b"));
  EXPECT_EQ(two.find("GET /b"), std::string::npos);
}

TEST_F(HttpServerTest, EveryRequestIsNamedAndLogged) {
  start();
  EXPECT_NE(ask("GET /a?x=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n")
                .find("X-Request-Id: mine"),
            std::string::npos);
  EXPECT_NE(ask("GET /b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").find("X-Request-Id: req_"),
            std::string::npos);
  TearDown();
  server_.reset();
  ASSERT_EQ(log_.size(), 2u);
  EXPECT_EQ(log_[0].id, "mine");
  EXPECT_EQ(log_[0].path, "/a");
  EXPECT_EQ(log_[0].client, "127.0.0.1");
  EXPECT_EQ(log_[0].status, 200);
  EXPECT_EQ(log_[1].status, 400);
}

TEST_F(HttpServerTest, AsksForTheBody) {
  start();
  Client client(server_->port());
  client.send("POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.receive(200ms), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(body_of(client.send("hi").receive()), "POST /a hi");
  // Not for one that is too large, nor for one that nobody wants.
  const std::string large =
      "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n";
  EXPECT_EQ(status_of(ask(large)), "HTTP/1.1 413");
  EXPECT_EQ(
      status_of(
          ask("POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")),
      "HTTP/1.1 200");
}

TEST_F(HttpServerTest, RefusesAtOnce) {
  start({.max_body_bytes = 1000, .max_header_bytes = 1000});
  const std::string post = "POST /a HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(status_of(ask(post + "Content-Length: 1001\r\n\r\n")), "HTTP/1.1 413");  // no body came
  EXPECT_EQ(status_of(ask(post + "Transfer-Encoding: chunked\r\n\r\nFFFF\r\n")), "HTTP/1.1 413");
  EXPECT_EQ(status_of(ask("GET /" + std::string(2000, 'x'))), "HTTP/1.1 414");
  EXPECT_EQ(status_of(ask("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(2000, 'x'))),
            "HTTP/1.1 431");
  EXPECT_EQ(status_of(ask("GET / HTTP/1.1\n")), "HTTP/1.1 400");
  EXPECT_EQ(body_of(ask("GET / HTTP/1.1\r\n\r\n")), "400: the header field host is missing");
  // All of what was refused can still be sent: the answer is not lost.
  EXPECT_EQ(status_of(ask(post + "Content-Length: 5000\r\n\r\n" + std::string(5000, 'x'))),
            "HTTP/1.1 413");
}

TEST_F(HttpServerTest, SlowSendersAreToldAndEnded) {
  start({.read_timeout = 0.2});
  Client slow(server_->port()), idle(server_->port());
  slow.send("GET / HT");
  EXPECT_EQ(status_of(slow.receive()), "HTTP/1.1 408");
  EXPECT_TRUE(idle.ended());
}

// More than may be open at once, heads and bodies that never end: who sends a whole request is
// answered at once.
TEST_F(HttpServerTest, TricklingConnectionsTakeNothingAway) {
  start({.max_connections = 50});
  std::deque<Client> slow;
  for (int i = 0; i < 300; ++i) {
    slow.emplace_back(server_->port());
    slow.back().send(i % 2 == 0 ? "GET / HTTP/1.1\r\nX: "
                                : "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nx");
    if (i % 50 == 49) {
      EXPECT_EQ(status_of(ask(get("/health"))), "HTTP/1.1 200") << i;
    }
  }
  EXPECT_EQ(status_of(ask(get("/a"))), "HTTP/1.1 200");
  slow.back().send(std::string(98, 'x'));  // the last one is still there
  EXPECT_EQ(status_of(slow.back().receive()), "HTTP/1.1 200");
}

TEST_F(HttpServerTest, BusyAnswersTakeHealthNotAway) {
  start({.max_connections = 3});
  std::deque<Client> busy;
  for (int i = 0; i < 3; ++i) busy.emplace_back(server_->port()).send(get("/wait"));
  std::string answer;
  for (int i = 0; i < 100 && !answer.starts_with("HTTP/1.1 503"); ++i) answer = ask(get("/a"));
  EXPECT_EQ(status_of(answer), "HTTP/1.1 503");
  EXPECT_NE(answer.find("\r\nRetry-After: 1\r\n"), std::string::npos);
  EXPECT_EQ(status_of(ask(get("/health"))), "HTTP/1.1 200");
  released_ = true;
  for (Client& client : busy) EXPECT_EQ(status_of(client.receive()), "HTTP/1.1 200");
}

TEST_F(HttpServerTest, AnAnswerNoticesThatItsClientHasGone) {
  start();
  { Client(server_->port()).send(get("/until-gone")).receive(100ms); }
  for (int i = 0; i < 5000 && !gone_; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(gone_);
}

TEST_F(HttpServerTest, StopsWhileOthersAreSending) {
  start();
  Client slow(server_->port());
  slow.send("GET / HT");
  EXPECT_EQ(status_of(ask(get("/a"))), "HTTP/1.1 200");
  const auto start = std::chrono::steady_clock::now();
  server_->stop();
  thread_.join();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_TRUE(slow.ended());
}

}  // namespace
}  // namespace um
