// Routes: from a request's method and path to what answers it. Also who may ask: API key, CORS.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "server/http.h"
#include "server/reply.h"
#include "server/service.h"

namespace um {

class Routes {
 public:
  explicit Routes(Service& service);

  /// Answers any request; never throws.
  void handle(const HttpRequest& request, HttpResponse& response);
  /// Whether such a request is answered however busy the server is.
  bool is_urgent(const HttpRequest& request) const;
  /// Whether the body of such a request will be looked at.
  bool wants_body(const HttpRequest& request) const;

 private:
  using Route = void (*)(Service&, const HttpRequest&, HttpResponse&);
  struct Entry {
    Route get = nullptr, post = nullptr, remove = nullptr;
    Route of(const std::string& method) const;
    std::string methods() const;  // for Allow
    bool open = false;            // without the API key
    const char* text = "";        // the field whose text the tokens of a request are from
  };

  void dispatch(const HttpRequest& request, HttpResponse& response);
  const Entry* find(const std::string& path) const;
  bool may_pass(const HttpRequest& request) const;
  void check_host(const HttpRequest& request) const;
  bool foreign_page(const HttpRequest& request) const;
  void set_cors(const HttpRequest& request, HttpResponse& response) const;

  Service& service_;
  std::map<std::string, Entry> entries_;
};

/// Whether the client wants to be answered as Anthropic's API does.
bool speaks_messages(const HttpRequest& request);
/// The body of an error that never got to a route, in the form of the API that the client speaks
/// as far as that is known by then.
std::string http_error_body(const HttpRecord& record, int status, const std::string& message);
/// Writes `json` as the response's body; bytes that are not UTF-8 are replaced.
void set_json(HttpResponse& response, const Json& json);

/// Runs `reply` for the answers to `prompts`, as a whole or as a stream (answer_routes.cc).
void answer(Service& service, const HttpRequest& request, HttpResponse& response,
            const GenerationParams& params, std::vector<AnswerRequest> prompts,
            std::shared_ptr<Reply> reply);

/// Has the model read texts, as many at once as go into a forward. Throws ApiError, also where the
/// client has gone (answer_routes.cc).
void read_texts(Service& service, const HttpRequest& request, std::span<const Reading> texts);

// The routes; each throws ApiError for what it refuses.
void route_chat(Service& service, const HttpRequest& request, HttpResponse& response);
void route_messages(Service& service, const HttpRequest& request, HttpResponse& response);
void route_count_tokens(Service& service, const HttpRequest& request, HttpResponse& response);
void route_responses(Service& service, const HttpRequest& request, HttpResponse& response);
void route_count_responses(Service& service, const HttpRequest& request, HttpResponse& response);
void route_response(Service& service, const HttpRequest& request, HttpResponse& response);
void route_delete_response(Service& service, const HttpRequest& request, HttpResponse& response);
void route_response_action(Service& service, const HttpRequest& request, HttpResponse& response);
void route_completions(Service& service, const HttpRequest& request, HttpResponse& response);
void route_models(Service& service, const HttpRequest& request, HttpResponse& response);
void route_embeddings(Service& service, const HttpRequest& request, HttpResponse& response);
void route_tokenize(Service& service, const HttpRequest& request, HttpResponse& response);
void route_tokenizer_info(Service& service, const HttpRequest& request, HttpResponse& response);
void route_detokenize(Service& service, const HttpRequest& request, HttpResponse& response);
void route_template(Service& service, const HttpRequest& request, HttpResponse& response);
void route_health(Service& service, const HttpRequest& request, HttpResponse& response);
void route_metrics(Service& service, const HttpRequest& request, HttpResponse& response);
void route_version(Service& service, const HttpRequest& request, HttpResponse& response);
void route_page(Service& service, const HttpRequest& request, HttpResponse& response);

}  // namespace um
