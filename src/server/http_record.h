// What the log says of one request: filled in from its first byte to the end of its answer.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "server/http_head.h"

namespace um {

struct HttpRecord {
  using Clock = std::chrono::steady_clock;

  std::string id = {};                 ///< of its X-Request-Id if that is usable, else a new one
  std::string client = {};             ///< the address
  std::string method = {}, path = {};  ///< empty where none could be read
  std::string anthropic_version = {};  ///< the field of this name
  int status = 0;
  int failure = 0;    ///< the status of an error that a stream ended with
  bool whole = true;  ///< false: the answer was cut off
  double seconds = 0;
  std::string note = {}, detail = {};  ///< see HttpResponse
  Clock::time_point begin = Clock::now();

  /// A request of `client` that has yet to come.
  static HttpRecord of(const std::string& client);
  /// Its head has come.
  void name(const HttpHead& head);
  /// Its answer has been written; sets `seconds`.
  void end();
};

/// Whether an answer of this status says that the server failed, and not its client: by 501 and 505
/// it refuses a method, coding or version that the client chose.
constexpr bool is_server_failure(int status) {
  return status >= 500 && status != 501 && status != 505;
}

/// Hears of every request, on many threads at once; must not throw.
using HttpLog = std::function<void(const HttpRecord&)>;

}  // namespace um
