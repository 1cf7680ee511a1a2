// The one error type of the project and the two macros that throw it.
//
// Errors are thrown where the fault is found, with what was expected and what was found, and are
// caught only in `cli` and `server`, which print one line. Kernels never throw.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace um {

/// Something outside our control is wrong: a file, a value, the machine. The process exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line or a run file asks for something that does not exist. The process exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace um

/// Throws um::Error with a formatted message unless `condition` holds. The message is for a user:
/// it says where, what was expected and what was found.
#define UM_CHECK(condition, ...)                   \
  do {                                             \
    if (!(condition)) [[unlikely]] {               \
      throw ::um::Error(fmt::format(__VA_ARGS__)); \
    }                                              \
  } while (false)
