// Responses that are kept: shown again, their input, deleted.
#include <algorithm>
#include <charconv>

#include "server/api_error.h"
#include "server/responses.h"
#include "server/routes.h"

namespace um {
namespace {

constexpr std::string_view kPrefix = "/responses/";

/// The part of the path behind /responses/, split at the next slash: an id and what of it is meant.
std::pair<std::string, std::string> target_of(const HttpRequest& request) {
  const std::string rest = request.path.substr(request.path.find(kPrefix) + kPrefix.size());
  const size_t slash = rest.find('/');
  if (slash == std::string::npos) return {rest, ""};
  return {rest.substr(0, slash), rest.substr(slash + 1)};
}

[[noreturn]] void no_response(const std::string& id) {
  throw ApiError(404, fmt::format("there is no response {} (any more)", quote(id)), "response_id",
                 "not_found");
}

[[noreturn]] void nothing_at(const HttpRequest& request) {
  throw ApiError(404, fmt::format("there is nothing at {}", quote(request.path)));
}

int64_t read_limit(const HttpRequest& request) {
  const std::string text = request.query("limit");
  int64_t limit = 20;
  if (text.empty()) return limit;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error != std::errc() || end != text.data() + text.size() || limit < 1 || limit > 100)
    bad_field("limit", "expected a whole number from 1 to 100, found {}", quote(text));
  return limit;
}

/// All that the model saw but the instructions, newest first unless `order` is asc.
OrderedJson input_items(const StoredResponse& stored, const HttpRequest& request) {
  OrderedJson all = OrderedJson::array();
  for (size_t i = 0; i < stored.turns.size(); ++i) {
    const OrderedJson& items = stored.turns[i]->json();
    const size_t count = i + 1 == stored.turns.size() ? stored.inputs : items.size();
    for (size_t j = 0; j < count; ++j) all.push_back(items[j]);
  }
  const std::string order = request.query("order"), after = request.query("after");
  if (!order.empty() && order != "asc" && order != "desc")
    bad_field("order", "{}: expected asc or desc", quote(order));
  if (order != "asc") std::ranges::reverse(all);
  auto begin = all.begin();
  if (!after.empty()) {
    begin = std::ranges::find_if(all, [&](const OrderedJson& item) { return item["id"] == after; });
    if (begin == all.end()) bad_field("after", "there is no item {}", quote(after));
    ++begin;
  }
  const auto end = begin + std::min<std::ptrdiff_t>(read_limit(request), all.end() - begin);
  const OrderedJson data(begin, end);
  const auto id = [&](size_t at) { return data.empty() ? OrderedJson() : data[at]["id"]; };
  return {{"object", "list"},
          {"data", data},
          {"first_id", id(0)},
          {"last_id", id(data.empty() ? 0 : data.size() - 1)},
          {"has_more", end != all.end()}};
}

}  // namespace

void route_response(Service& service, const HttpRequest& request, HttpResponse& response) {
  const auto [id, what] = target_of(request);
  if (!what.empty() && what != "input_items") nothing_at(request);
  const auto stored = service.responses().get(id);
  if (stored == nullptr) no_response(id);
  if (!request.query("stream").empty() && request.query("stream") != "false")
    bad_field("stream", "not supported by this server for a response that is kept");
  const OrderedJson json = what.empty() ? stored->response.json() : input_items(*stored, request);
  response.body = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

void route_delete_response(Service& service, const HttpRequest& request, HttpResponse& response) {
  const auto [id, what] = target_of(request);
  if (!what.empty()) nothing_at(request);
  if (!service.responses().remove(id)) no_response(id);
  set_json(response, {{"id", id}, {"object", "response"}, {"deleted", true}});
}

void route_response_action(Service& service, const HttpRequest& request, HttpResponse&) {
  const auto [id, what] = target_of(request);
  if (what != "cancel") nothing_at(request);
  if (service.responses().get(id) == nullptr) no_response(id);
  throw ApiError(400, "only a response in the background can be cancelled: this one is complete",
                 "response_id");
}

}  // namespace um
