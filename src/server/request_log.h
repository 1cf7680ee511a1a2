// The request log: a line for each request, without anything of its content.
#pragma once

#include <functional>
#include <string>

#include "server/http.h"

namespace um {

enum class LogLevel { error, warning, info, debug };
/// "error", "warning", "info" or "debug". Throws UsageError for other names.
LogLevel parse_log_level(const std::string& name);

/// `TIME LEVEL CLIENT METHOD PATH STATUS ms=… NOTE id=…`; the detail too, if `debug`.
std::string log_line(const HttpRecord& record, bool debug);

/// A log that gives `write` the lines up to `level`: failures of the server are errors, refusals
/// and answers that were cut off warnings.
HttpLog request_log(LogLevel level, std::function<void(const std::string&)> write);

}  // namespace um
