// See routes.h.
#include "server/routes.h"

#include <algorithm>

#include "server/api_error.h"
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
              {"/tokenizer_info", {.get = route_tokenizer_info}},
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
  std::string given = request.header("Authorization");
  given = given.starts_with("Bearer ") ? given.substr(7) : request.header("X-Api-Key");
  return same_key(given, key);
}

/// A page of another site that was not let in by --cors: browsers may send such requests without
/// asking first.
bool Routes::foreign_page(const HttpRequest& request) const {
  const std::string origin = request.header("Origin");
  if (origin.empty() || without_scheme(origin) == request.header("Host")) return false;
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

bool Routes::wants_body(const HttpRequest& request) const {
  const Entry* entry = find(request.path);
  return entry != nullptr && entry->post != nullptr && may_pass(request) && !foreign_page(request);
}

void Routes::dispatch(const HttpRequest& request, HttpResponse& response) {
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
    response.headers.emplace_back("Allow", entry->get != nullptr ? "GET, HEAD" : "POST");
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
  } catch (const TooManyTokens& error) {
    set_error(request, response,
              ApiError(400,
                       fmt::format("This model's maximum context length is {} tokens: {}",
                                   service_.context(), error.what()),
                       "prompt", "context_length_exceeded"));
  } catch (const EncodeStopped&) {
    set_error(request, response, ApiError(503, "the client has gone, or the server shuts down"));
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
