// See routes.h.
#include "server/routes.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <array>

#include "core/stop_scope.h"
#include "server/api_error.h"
#include "server/http_head.h"
#include "server/messages.h"
#include "text/utf8.h"

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
  set_json(response, speaks_messages(request) ? messages_error(error) : error.body());
  response.note = [note = error.log_note()] { return HttpNote{note}; };
  response.detail = fmt::format("message={}", to_text(Json(repair_utf8(error.what()))));
  if (error.status() == 429 || error.status() == 503)
    response.headers.emplace_back("Retry-After", "1");
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
}

/// What clients of other servers ask for and this one does not have, by the beginning of the path.
struct Unserved {
  const char *path, *what;
};
constexpr Unserved kUnserved[] = {
    {"/rerank", "reranking"},
    {"/reranking", "reranking"},
    {"/score", "scoring of pairs of texts"},
    {"/classify", "classification"},
    {"/pooling", "pooling"},
    {"/moderations", "moderation"},
    {"/audio", "audio"},
    {"/images", "images"},
    {"/videos", "videos"},
    {"/realtime", "realtime sessions"},
    {"/files", "stored files"},
    {"/uploads", "uploads"},
    {"/batches", "batches"},
    {"/messages/batches", "batches"},
    {"/fine_tuning", "fine-tuning"},
    {"/assistants", "assistants"},
    {"/threads", "threads"},
    {"/conversations", "conversations"},
    {"/vector_stores", "vector stores"},
    {"/containers", "containers"},
    {"/evals", "evaluations"},
    {"/responses/compact", "compaction of conversations"},
    {"/load_lora_adapter", "LoRA adapters"},
    {"/unload_lora_adapter", "LoRA adapters"},
    {"/lora-adapters", "LoRA adapters"},
    {"/complete", "Anthropic's text completions (/v1/completions are OpenAI's)"},
    {"/completion", "llama.cpp's own completions (/v1/completions are OpenAI's)"},
    {"/infill", "llama.cpp's infill"},
    {"/slots", "llama.cpp's slots"},
    {"/props", "llama.cpp's properties"},
    {"/generate", "TGI's own API (/v1/chat/completions is OpenAI's)"},
    {"/api", "Ollama's own API (/v1/chat/completions is OpenAI's)"},
};

/// Whether `path` is `begin` or lies under it.
bool lies_under(std::string_view path, std::string_view begin) {
  return path.starts_with(begin) && (path.size() == begin.size() || path[begin.size()] == '/');
}

void refuse_unserved(const std::string& path) {
  std::string_view rest = path;
  for (const std::string_view version : {"/v1", "/v2"})
    if (lies_under(path, version)) rest.remove_prefix(version.size());
  for (const auto& [begin, what] : kUnserved)
    if (lies_under(rest, begin))
      throw ApiError(404, fmt::format("{}: not supported by this server: {}", quote(path), what),
                     "", "not_supported");
}

/// By the path and the field Anthropic-Version.
bool speaks_messages(std::string_view path, const std::string& version) {
  return path.starts_with("/v1/messages") || !version.empty();
}

}  // namespace

bool speaks_messages(const HttpRequest& request) {
  return speaks_messages(request.path, request.header("Anthropic-Version"));
}

std::string http_error_body(const HttpRecord& record, int status, const std::string& message) {
  const ApiError error(status, message);
  const bool messages = speaks_messages(record.path, record.anthropic_version);
  return to_text(messages ? messages_error(error) : error.body());
}

void set_json(HttpResponse& response, const Json& json) {
  response.content_type = "application/json";
  response.body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Routes::Routes(Service& service) : service_(service) {
  entries_ = {
      {"/v1/chat/completions", {.post = route_chat, .text = "messages"}},
      {"/v1/completions", {.post = route_completions, .text = "prompt"}},
      {"/v1/messages", {.post = route_messages, .text = "messages"}},
      {"/v1/messages/count_tokens", {.post = route_count_tokens, .text = "messages"}},
      {"/v1/responses", {.post = route_responses, .text = "input"}},
      {"/v1/responses/input_tokens", {.post = route_count_responses, .text = "input"}},
      {"/v1/responses/",
       {.get = route_response, .post = route_response_action, .remove = route_delete_response}},
      {"/v1/models", {.get = route_models}},
      {"/v1/models/", {.get = route_models}},
      {"/v1/embeddings", {.post = route_embeddings, .text = "input"}},
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
  for (const char* path : {"/chat/completions", "/completions", "/models", "/models/",
                           "/embeddings", "/responses", "/responses/input_tokens", "/responses/"})
    entries_[path] = entries_["/v1" + std::string(path)];
  entries_["/v1/tokenize"] = entries_["/tokenize"];
  entries_["/v1/detokenize"] = entries_["/detokenize"];
  entries_["/v1/health"] = entries_["/health"];
}

Routes::Route Routes::Entry::of(const std::string& method) const {
  if (method == "GET" || method == "HEAD") return get;
  if (method == "POST") return post;
  return method == "DELETE" ? remove : nullptr;
}

std::string Routes::Entry::methods() const {
  std::string names = get != nullptr ? "GET, HEAD, " : "";
  if (post != nullptr) names += "POST, ";
  if (remove != nullptr) names += "DELETE, ";
  return names + "OPTIONS";
}

/// The entry of the path, or of what lies under the longest beginning of it that ends in a slash.
const Routes::Entry* Routes::find(const std::string& path) const {
  auto it = entries_.find(path);
  for (size_t slash = path.rfind('/');
       it == entries_.end() && slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1))
    it = entries_.find(path.substr(0, slash + 1));
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
  // Only HTTP/1.0, which no browser speaks, may do without a host.
  if (!options.api_key.empty() || request.host.empty()) return;
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
/// asking first. It could not read the answer, but a GET, too, takes work and time.
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
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
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
  if (!is_urgent(request) && foreign_page(request))
    throw ApiError(403, "this page's origin may not call the server (see --cors)");
  if (request.method == "OPTIONS") {
    response.status = 204;
    return;
  }
  if (!may_pass(request))
    throw ApiError(401, "the API key is missing or wrong: send \"Authorization: Bearer KEY\"", "",
                   "invalid_api_key");
  refuse_unserved(request.path);
  const Entry* entry = find(request.path);
  if (entry == nullptr)
    throw ApiError(404, fmt::format("there is nothing at {}", quote(request.path)));
  const Route route = entry->of(request.method);
  if (route == nullptr) {
    response.headers.emplace_back("Allow", entry->methods());
    throw ApiError(405, fmt::format("{} does not take {}", request.path, request.method));
  }
  route(service_, request, response);
}

void Routes::handle(const HttpRequest& request, HttpResponse& response) {
  try {
    const StopScope scope([&] { return service_.stopping() || request.client_gone(); });
    set_cors(request, response);
    if (speaks_messages(request)) response.headers.emplace_back("Request-Id", request.id);
    dispatch(request, response);
  } catch (const ApiError& error) {
    set_error(request, response, error);
  } catch (const TooManyTokens& error) {
    const Entry* entry = find(request.path);
    set_error(request, response,
              ApiError(400,
                       fmt::format("This model's maximum context length is {} tokens: {}",
                                   service_.context(), error.what()),
                       entry == nullptr ? "" : entry->text, "context_length_exceeded"));
  } catch (const Stopped&) {
    set_error(request, response,
              request.client_gone() ? ApiError(499, "the client has gone")
                                    : ApiError(503, "the server is shutting down"));
  } catch (const UsageError& error) {  // an option of sampling that the engine refuses
    set_error(request, response, ApiError(400, error.what()));
  } catch (const std::bad_alloc&) {
    set_error(request, response, ApiError(503, "out of memory"));
  } catch (const std::exception& error) {
    set_error(request, response, failure_of(error));
    response.detail = fmt::format("message={}", to_text(Json(repair_utf8(error.what()))));
  }
  service_.metrics().http_response(response.status);
}

}  // namespace um
