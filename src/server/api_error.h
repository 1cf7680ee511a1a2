// ApiError: a request that is answered with an error, in OpenAI's form.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace um {

/// What goes wrong with one request: an HTTP status and the fields of OpenAI's error object.
class ApiError : public Error {
 public:
  /// `param` names the field that is wrong, `code` a reason that clients know; both may be empty.
  ApiError(int status, std::string message, std::string param = {}, std::string code = {})
      : Error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }
  /// {"error": {"message", "type", "param", "code"}}
  Json body() const;
  /// What the log says of it. The message may quote what the client sent, so it is only in the log
  /// where the server has failed.
  std::string log_note() const;

 private:
  int status_;
  std::string param_, code_;
};

/// OpenAI's `type` of an error with this HTTP status: "invalid_request_error" for 400.
std::string_view error_type(int status);

/// The error of status 500 for what nobody foresaw. Only our own errors are written for a client to
/// read; the text of others is not shown.
ApiError failure_of(const std::exception& error);

/// What an API of its own calls a field of a chat request.
struct FieldName {
  std::string_view chat, own;
  bool whole = false;  ///< what is inside of it lies elsewhere there, and is not named
};

/// `error`, which is of a chat request made from `body`, with the names that `body` has. A field
/// that was in it under the chat's name keeps that.
ApiError renamed(const ApiError& error, const Json& body, std::span<const FieldName> names);

/// Throws the ApiError of status 400 for a field.
template <class... Args>
[[noreturn]] void bad_field(const std::string& param, fmt::format_string<Args...> format,
                            Args&&... args) {
  throw ApiError(400, param + ": " + fmt::format(format, std::forward<Args>(args)...), param);
}

}  // namespace um
