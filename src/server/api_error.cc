// See api_error.h.
#include "server/api_error.h"

#include <algorithm>

#include "server/http_record.h"
#include "text/utf8.h"

namespace um {

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
    case 405:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    case 504:
      return "timeout_error";
    default:
      return is_server_failure(status) ? "server_error" : "invalid_request_error";
  }
}

std::string ApiError::log_note() const {
  std::string note = fmt::format("error={}", error_type(status_));
  if (!code_.empty()) note += " code=" + code_;
  if (!param_.empty()) note += " param=" + quote(param_);
  if (is_server_failure(status_)) note += " message=" + quote(what());
  return note;
}

ApiError renamed(const ApiError& error, const Json& body, std::span<const FieldName> names) {
  const std::string& field = error.param();
  for (const auto& [chat, own, whole] : names) {
    const std::string_view rest =
        std::string_view(field).substr(std::min(chat.size(), field.size()));
    const bool same = field.starts_with(chat) && (rest.empty() || rest[0] == '.' || rest[0] == '[');
    const std::string outer(own.substr(0, own.find('.')));
    if (!same || (outer != chat && body.contains(chat) && !body.contains(outer))) continue;
    const std::string param = std::string(own) + std::string(whole ? "" : rest);
    std::string message = error.what();
    if (message.starts_with(field)) message.replace(0, field.size(), param);
    return {error.status(), message, param, error.code()};
  }
  return error;
}

ApiError failure_of(const std::exception& error) {
  const bool own = dynamic_cast<const Error*>(&error) != nullptr;
  return {500, own ? error.what() : "an error of the server's own; its log has the details"};
}

Json ApiError::body() const {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return {{"error",
           {{"message", repair_utf8(what())},
            {"type", error_type(status_)},
            {"param", or_null(param_)},
            {"code", or_null(code_)}}}};
}

}  // namespace um
