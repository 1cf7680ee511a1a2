// See serve.h.
#include "server/serve.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <exception>
#include <optional>
#include <thread>

#include "server/request_log.h"
#include "server/routes.h"

namespace um {
namespace {

/// SIGINT and SIGTERM, taken by wait() instead of a handler. Made before any thread, so that all
/// threads leave them alone.
class Signals {
 public:
  Signals() {
    std::signal(SIGPIPE, SIG_IGN);  // clients that hang up are noticed by write()
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  /// The next signal, or 0 after so long.
  int wait(std::chrono::milliseconds time) const {
    const timespec limit{time.count() / 1000, time.count() % 1000 * 1'000'000};
    const int signal = ::sigtimedwait(&set_, nullptr, &limit);
    return signal > 0 ? signal : 0;
  }
  /// From now on they end the process.
  void release() const {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }

 private:
  sigset_t set_;
};

HttpOptions http_options(const ServeOptions& options) {
  return {.host = options.host,
          .port = static_cast<int>(options.port),
          .tls_cert = options.tls_cert,
          .tls_key = options.tls_key,
          .max_connections = static_cast<size_t>(options.max_connections),
          .max_body_bytes = static_cast<size_t>(options.max_body_bytes),
          .max_header_bytes = static_cast<size_t>(options.max_header_bytes),
          .read_timeout = options.read_timeout,
          .write_timeout = options.write_timeout};
}

/// A thread that is joined.
class Joined {
 public:
  explicit Joined(std::function<void()> work) : thread_(std::move(work)) {}
  Joined(const Joined&) = delete;
  ~Joined() { thread_.join(); }

 private:
  std::thread thread_;
};

/// Loads the model on a thread of its own, so that signals still end the process, and says how far
/// it has come.
void load(Service& service, Device& device, std::optional<WeightTypes> weights,
          const Signals& signals, const Note& note, const LoadProgress& progress) {
  std::atomic<bool> loaded{false};
  std::exception_ptr failure;
  std::vector<std::string> warnings;
  const auto start = std::chrono::steady_clock::now();
  {
    const Joined loader([&] {
      try {
        service.load(device, weights, &warnings);
      } catch (...) {
        failure = std::current_exception();
      }
      loaded = true;
    });
    while (!loaded) {
      if (signals.wait(std::chrono::milliseconds(100)) != 0) {
        signals.release();
        ::raise(SIGTERM);
      }
      const Service::Loading loading = service.loading();
      if (loading.all > 0) progress(loading.done, loading.all);
    }
  }
  if (failure) std::rethrow_exception(failure);
  for (const std::string& warning : warnings) note("warning: " + warning);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (service.base_model()) note(fmt::format("{}; the page offers completions", kBaseModel));
  std::string line = fmt::format("loaded in {:.1f} s", took.count());
  for (const std::string& more : {describe_weights(service.model()),
                                  describe_experts(service.model()), service.describe_cache()})
    if (!more.empty()) line += "; " + more;
  note(line);
}

std::string url_of(const ServeOptions& options, int port) {
  const bool v6 = options.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", options.tls_cert.empty() ? "http" : "https", v6 ? "[" : "",
                     options.host, v6 ? "]" : "", port);
}

}  // namespace

void serve(const ServeOptions& options, const std::filesystem::path& directory, Device& device,
           std::optional<WeightTypes> weights, const Note& note, const LoadProgress& progress) {
  const Signals signals;
  Service service(options, directory);
  Routes routes(service);
  HttpServer server(
      http_options(options),
      {.handle = [&](const HttpRequest& request,
                     HttpResponse& response) { routes.handle(request, response); },
       .wants_body = [&](const HttpRequest& request) { return routes.wants_body(request); },
       .urgent = [&](const HttpRequest& request) { return routes.is_urgent(request); },
       .error_body = http_error_body,
       .log = request_log(parse_log_level(options.log_level), note)});
  server.bind();
  const std::string url = url_of(options, server.port());
  note(fmt::format("listening on {}; loading {}", url, directory.string()));
  const Joined listener([&] { server.serve(); });
  struct Stop {  // also when loading fails
    HttpServer& server;
    Service& service;
    ~Stop() {
      service.stop();
      server.stop();
    }
  } stop{server, service};

  load(service, device, weights, signals, note, progress);
  note(fmt::format("ready: {} serves {}, context {} tokens", url, service.name(),
                   service.context()));

  while (signals.wait(std::chrono::hours(1)) == 0) continue;
  signals.release();
  note("draining: running requests finish; once more to stop at once");
  service.drain(options.drain_timeout);
  note("stopped");
}

}  // namespace um
