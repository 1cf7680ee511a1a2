// See request_log.h.
#include "server/request_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

constexpr std::array<const char*, 4> kNames = {"error", "warning", "info", "debug"};

LogLevel level_of(const HttpRecord& record) {
  const int status = std::max(record.status, record.failure);
  if (is_server_failure(status)) return LogLevel::error;
  return status >= 400 || !record.whole ? LogLevel::warning : LogLevel::info;
}

/// A word from outside, which may not break the line.
std::string word(const std::string& text) {
  if (text.empty()) return "-";
  const auto plain = [](char c) { return c > ' ' && c < '\x7f' && c != '"' && c != '\\'; };
  if (std::ranges::all_of(text, plain)) return text;
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string now() {
  const auto time =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto ms = time.time_since_epoch().count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)), ms);
}

}  // namespace

LogLevel parse_log_level(const std::string& name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end())
    throw UsageError(fmt::format("log level {}: expected error, warning, info or debug", name));
  return static_cast<LogLevel>(found - kNames.begin());
}

std::string log_line(const HttpRecord& record, bool debug) {
  std::string line =
      fmt::format("{} {} {} {} {} {} ms={:.0f}", now(),
                  kNames[static_cast<size_t>(level_of(record))], word(record.client),
                  word(record.method), word(record.path), record.status, 1e3 * record.seconds);
  if (!record.whole) line += " cut_off";
  if (!record.note.empty()) line += " " + record.note;
  if (debug && !record.detail.empty()) line += " " + record.detail;
  return line + " id=" + record.id;
}

HttpLog request_log(LogLevel level, std::function<void(const std::string&)> write) {
  return [level, write = std::move(write)](const HttpRecord& record) {
    if (level_of(record) <= level) write(log_line(record, level == LogLevel::debug));
  };
}

}  // namespace um
