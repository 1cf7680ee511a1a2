// See routes.h.
#include "server/routes.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <array>

#include "server/api_error.h"
#include "server/http_head.h"
#include "server/messages.h"

namespace um {
namespace {

/// Takes as long for a wrong key as for the right one.
bool same_key(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^
                  static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  return difference == 0;
}

/// The key of "Bearer KEY"; the scheme may be written in any case (RFC 9110). "" for another one.
std::string bearer_key(const std::string& field) {
  constexpr size_t kScheme = 7;
  if (::strncasecmp(field.c_str(), "bearer ", kScheme) != 0) return "";
  return field.substr(std::min(field.find_first_not_of(' ', kScheme), field.size()));
}

/// An address as it stands in a Host field: IPv6 in brackets.
std::string as_host(const std::string& address) {
  return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  const bool six = host.starts_with('[') && host.ends_with(']');
  const std::string text = six ? host.substr(1, host.size() - 2) : host;
  return ::inet_pton(six ? AF_INET6 : AF_INET, text.c_str(), bytes.data()) == 1;
}

std::string without_scheme(const std::string& origin) {
  const size_t at = origin.find("://");
  return at == std::string::npos ? origin : origin.substr(at + 3);
}

void set_error(const HttpRequest& request, HttpResponse& response, const ApiError& error) {
  response.status = error.status();
  response.stream = nullptr;
  const bool messages = request.path.starts_with("/v1/messages");
  set_json(response, messages ? messages_error(error) : error.body());
  if (error.status() == 429 || error.status() == 503)
    response.headers.emplace_back("Retry-After", "1");
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
}

}  // namespace

std::string http_error_body(int status, const std::string& message) {
  return ApiError(status, message).body().dump(-1, ' ', false, Json::error_handler_t::replace);
}

void set_json(HttpResponse& response, const Json& json) {
  response.content_type = "application/json";
  response.body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Routes::Routes(Service& service) : service_(service) {
  entries_ = {{"/v1/chat/completions", {.post = route_chat}},
              {"/v1/completions", {.post = route_completions}},
              {"/v1/messages", {.post = route_messages}},
              {"/v1/messages/count_tokens", {.post = route_count_tokens}},
              {"/v1/models", {.get = route_models}},
              {"/v1/embeddings", {.post = route_embeddings}},
              {"/tokenize", {.post = route_tokenize}},
              {"/detokenize", {.post = route_detokenize}},
              {"/apply-template", {.post = route_template}},
              {"/health", {.get = route_health, .open = true}},
              {"/ping", {.get = route_health, .post = route_health, .open = true}},
              {"/metrics", {.get = route_metrics}},
              {"/version", {.get = route_version}}};
  if (service_.options().page) entries_["/"] = {.get = route_page, .open = true};
  // Clients whose base URL lacks the /v1.
  for (const char* path : {"/chat/completions", "/completions", "/models", "/embeddings"})
    entries_[path] = entries_["/v1" + std::string(path)];
  entries_["/v1/tokenize"] = entries_["/tokenize"];
  entries_["/v1/detokenize"] = entries_["/detokenize"];
  entries_["/v1/health"] = entries_["/health"];
}

const Routes::Entry* Routes::find(const std::string& path) const {
  auto it = entries_.find(path);
  if (it == entries_.end() && path.starts_with("/v1/models/")) it = entries_.find("/v1/models");
  return it == entries_.end() ? nullptr : &it->second;
}

bool Routes::may_pass(const HttpRequest& request) const {
  const std::string& key = service_.options().api_key;
  if (key.empty()) return true;
  const Entry* entry = find(request.path);
  if (request.method == "OPTIONS" || (entry != nullptr && entry->open)) return true;
  const std::string given = bearer_key(request.header("Authorization"));
  return same_key(given.empty() ? request.header("X-Api-Key") : given, key);
}

// A page of any site can have its own name point at this machine (DNS rebinding); then the browser
// takes us for that site. A key, which the page does not know, keeps it out as well.
void Routes::check_host(const HttpRequest& request) const {
  const ServeOptions& options = service_.options();
  const std::string host = host_name(request.host);
  if (!options.api_key.empty() || request.host.empty()) return;  // browsers always send one
  const bool any_address = options.host == "0.0.0.0" || options.host == "::";
  std::vector<std::string> own = {"localhost", "127.0.0.1", "[::1]", as_host(options.host),
                                  as_host(request.own_address)};
  own.insert(own.end(), options.allowed_host.begin(), options.allowed_host.end());
  for (const std::string& name : own)
    if (host == host_name(name)) return;
  if (any_address && is_address(host)) return;  // nobody's name
  throw ApiError(403, fmt::format("host {}: the server does not go by this name; if it should, "
                                  "start it with --allowed-host {} or with an API key",
                                  quote(request.host), quote(host)));
}

/// A page of another site that was not let in by --cors: browsers may send such requests without
/// asking first.
bool Routes::foreign_page(const HttpRequest& request) const {
  const std::string origin = request.header("Origin");
  if (origin.empty() || without_scheme(origin) == request.host) return false;
  const std::vector<std::string>& allowed = service_.options().cors;
  return std::find(allowed.begin(), allowed.end(), origin) == allowed.end() &&
         std::find(allowed.begin(), allowed.end(), "*") == allowed.end();
}

void Routes::set_cors(const HttpRequest& request, HttpResponse& response) const {
  const std::string origin = request.header("Origin");
  if (service_.options().cors.empty() || origin.empty() || foreign_page(request)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", origin);
  response.headers.emplace_back("Vary", "Origin");
  if (request.method != "OPTIONS") return;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  response.headers.emplace_back(
      "Access-Control-Allow-Headers",
      "Authorization, Content-Type, X-Api-Key, X-Request-Id, Anthropic-Version");
  response.headers.emplace_back("Access-Control-Max-Age", "86400");
}

bool Routes::is_urgent(const HttpRequest& request) const {
  const Entry* entry = find(request.path);
  return entry != nullptr && entry->get == route_health;
}

bool Routes::wants_body(const HttpRequest& request) const {
  const Entry* entry = find(request.path);
  return entry != nullptr && entry->post != nullptr && may_pass(request) && !foreign_page(request);
}

void Routes::dispatch(const HttpRequest& request, HttpResponse& response) {
  check_host(request);
  if (request.method == "OPTIONS") {
    response.status = 204;
    return;
  }
  if (!may_pass(request))
    throw ApiError(401, "the API key is missing or wrong: send \"Authorization: Bearer KEY\"", "",
                   "invalid_api_key");
  if (request.method == "POST" && foreign_page(request))
    throw ApiError(403, "this page's origin may not call the server (see --cors)");
  const Entry* entry = find(request.path);
  if (entry == nullptr)
    throw ApiError(404, fmt::format("there is nothing at {}", quote(request.path)));
  const bool get = request.method == "GET" || request.method == "HEAD";
  const Route route = get ? entry->get : request.method == "POST" ? entry->post : nullptr;
  if (route == nullptr) {
    const char* allowed = entry->post == nullptr  ? "GET, HEAD, OPTIONS"
                          : entry->get == nullptr ? "POST, OPTIONS"
                                                  : "GET, HEAD, POST, OPTIONS";
    response.headers.emplace_back("Allow", allowed);
    throw ApiError(405, fmt::format("{} does not take {}", request.path, request.method));
  }
  route(service_, request, response);
}

void Routes::handle(const HttpRequest& request, HttpResponse& response) {
  try {
    set_cors(request, response);
    dispatch(request, response);
  } catch (const ApiError& error) {
    set_error(request, response, error);
  } catch (const UsageError& error) {  // an option of sampling that the engine refuses
    set_error(request, response, ApiError(400, error.what()));
  } catch (const std::bad_alloc&) {
    set_error(request, response, ApiError(503, "out of memory"));
  } catch (const std::exception& error) {
    set_error(request, response, ApiError(500, error.what()));
  }
  service_.metrics().http_response(response.status);
}

}  // namespace um
